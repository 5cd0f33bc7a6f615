from django.urls import include, path

urlpatterns = [path("plugchat/", include("django_plugchat.urls"))]

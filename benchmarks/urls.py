from django.contrib import admin
from django.urls import include, path

from benchmarks.rivals import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("plugchat/", include("django_plugchat.urls")),
    path("nothing/", views.nothing),
    path("floor/", views.floor),
    path("tutorial/", views.TutorialView.as_view()),
    path("get-or-create/", views.GetOrCreateView.as_view()),
    path("anymail/", include("anymail.urls")),
]

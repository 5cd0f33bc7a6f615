from django.conf import settings
from django.db import models


class Store(models.Model):
    name = models.CharField(max_length=200)
    account = models.CharField(max_length=100, unique=True)  # the alias
    staff = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True)

    def __str__(self):
        return self.name


def accounts_of(user):
    if user.is_superuser:
        return None
    return Store.objects.filter(staff=user.pk).values_list("account", flat=True)

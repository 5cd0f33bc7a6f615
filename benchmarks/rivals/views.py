"""What this app is measured against."""

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.rivals.models import FloorEvent, GetOrCreateDelivery, TutorialDelivery


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


@csrf_exempt
def floor(request: HttpRequest) -> JsonResponse:
    """The least that stores the same row in Django: no secret, no validation, nothing done for duplicates."""
    data = json.loads(request.body)
    now = timezone.now()
    FloorEvent(
        account="default",
        zaap_id=data["zaapId"],
        custom_id=data.get("customId", ""),
        message_id=data.get("messageId", ""),
        phone=data["phone"],
        type=data["type"],
        instance_id=data.get("instanceId", ""),
        error=data.get("error", ""),
        error_code=data.get("errorCode", ""),
        outcome="failed" if data.get("error") else "sent",
        occurred_at=datetime.fromtimestamp(data["momment"] / 1000, tz=UTC),
        received_at=now,
        last_received_at=now,
        payload=data,
        secret_id="00000000",
        fingerprint=uuid.UUID(bytes=hashlib.sha256(request.body).digest()[:16], version=5),
    ).save(force_insert=True)
    return JsonResponse({"status": "recorded"})


class TutorialSerializer(serializers.ModelSerializer):
    class Meta:
        model = TutorialDelivery
        fields = "__all__"
        # Its validator would refuse what ``create`` is there to update.
        extra_kwargs = {"zaapId": {"validators": []}}

    def create(self, validated_data: dict[str, Any]) -> TutorialDelivery:
        zaap_id = validated_data.pop("zaapId")
        delivery, _created = TutorialDelivery.objects.update_or_create(zaapId=zaap_id, defaults=validated_data)
        return delivery


class TutorialView(APIView):
    def post(self, request: Request) -> Response:
        serializer = TutorialSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)


class GetOrCreateSerializer(serializers.Serializer):
    phone = serializers.CharField(max_length=64)
    zaapId = serializers.CharField(source="zaap_id", max_length=255)  # noqa: N815
    type = serializers.ChoiceField(choices=["DeliveryCallback"])
    customId = serializers.CharField(source="custom_id", max_length=255, default="")  # noqa: N815
    messageId = serializers.CharField(source="message_id", max_length=255, default="")  # noqa: N815
    instanceId = serializers.CharField(source="instance_id", max_length=255, default="")  # noqa: N815
    momment = serializers.IntegerField(default=None)
    error = serializers.CharField(default="")
    errorCode = serializers.CharField(source="error_code", max_length=255, default="")  # noqa: N815


class GetOrCreateView(APIView):
    def post(self, request: Request) -> Response:
        serializer = GetOrCreateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        zaap_id = values.pop("zaap_id")
        _delivery, created = GetOrCreateDelivery.objects.get_or_create(zaap_id=zaap_id, defaults=values)
        return Response({"status": "recorded" if created else "duplicate"})

from django.dispatch import Signal

#: provides args: event, the ``DeliveryEvent``; sender is ``DeliveryEvent``.
#: Sent after the event is committed, at least once and in no order: receivers must be idempotent. When one raises,
#: the event is tried again later, with all receivers.
delivery_recorded = Signal()

"""/cdmi_objectid/ (1.1.1 §5.11): everything by its ID, and things that have nothing else."""

from __future__ import annotations

from backends.errors import Invalid
from cdmi_server import dataobject, multipart, plain, queue
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, claims
from cdmi_server.negotiation import Profile, check_content_type, media_type, request_profile
from renderers.cdmi.representation import DATAOBJECT, QUEUE

CLAIMS = claims(SYSTEM, "cdmi_object_access_by_ID")


def answer(call: Call) -> None:
    """POST makes an object that only its ID leads to. What there is isn't listed."""
    if call.request.method != "POST":
        raise Invalid("/cdmi_objectid/ takes POST of new objects, and requests for objects by their IDs")
    if request_profile(call.request, call.version) is Profile.HTTP:
        plain.post_value(call, None)
        return
    call.check_version()
    if multipart.is_multipart(call.request):
        dataobject.answer_created(call, multipart.create(call, None))
        return
    if media_type(call.request.env.get("CONTENT_TYPE", "")) == QUEUE:
        queue.create(call, None, call.read_object())
        return
    check_content_type(call.request, DATAOBJECT)
    dataobject.create(call, None, call.read_object())

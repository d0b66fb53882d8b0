# How to send an event by hand. tests/docs/test_integrate.py runs each region.

# region: token
relay token --scope webhooks:write --webhook-id evt_1 --body event.json > token
curl -sS "$RELAY_URL/webhooks" -H "Authorization: Bearer $(cat token)" -H 'webhook-id: evt_1' \
  -H 'content-type: application/json' --data-binary @event.json
# endregion

# region: send
relay send membership.created trip_id=456e7890-e89b-12d3-a456-426614174001 \
  user_id=123e4567-e89b-12d3-a456-426614174000 role=MEMBER status=ACTIVE --wait 5
# endregion

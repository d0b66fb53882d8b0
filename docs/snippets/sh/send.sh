# How to send an event by hand. tests/docs/test_integrate.py runs each region.

# region: token
relay token --scope webhooks:write --webhook-id evt_1 --body event.json > token
curl -sS "$RELAY_URL/webhooks" -H "Authorization: Bearer $(cat token)" -H 'webhook-id: evt_1' \
  -H 'content-type: application/json' --data-binary @event.json
# endregion

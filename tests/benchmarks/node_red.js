msg.headers = { Authorization: "Token token=key", "content-type": "application/json" };
msg.payload = {
    company_id: "COM00000000000000000000000000000001",
    tracking_number: "+12025550133",
    customer_phone_number: "+1" + msg.payload.seller_phone_non_international,
    content: msg.payload.message,
};
return msg;

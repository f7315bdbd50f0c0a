//! Ids of responses and their items: a prefix and the id of the request, so that they can be found in the record.

use uuid::Uuid;

use crate::base::ids::RequestId;

const RESPONSE: &str = "resp_";

pub fn of_response(request: &RequestId) -> String {
    request.with_prefix(RESPONSE)
}

/// Returns the request whose response has this id; `None`: no response here has it.
pub fn request_of(id: &str) -> Option<RequestId> {
    let hex = id.strip_prefix(RESPONSE)?;
    let is_ours = hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { Uuid::try_parse(hex).ok().map(RequestId) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_request_and_no_other_spelling_does() {
        let request = RequestId(Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab));
        let id = of_response(&request);

        assert_eq!(id, "resp_0190123456787abc8def0123456789ab");
        assert_eq!(request_of(&id), Some(request));
        for other in [
            "",
            "resp_",
            "0190123456787abc8def0123456789ab",
            "resp_0190123456787ABC8def0123456789ab",
            "resp_01901234-5678-7abc-8def-0123456789ab",
            "resp_0190123456787abc8def0123456789a",
            "resp_0190123456787abc8def0123456789ab0",
            "msg_0190123456787abc8def0123456789ab",
        ] {
            assert_eq!(request_of(other), None, "{other}");
        }
    }
}

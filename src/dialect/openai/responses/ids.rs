//! Ids of responses and their items: a prefix and the id of the request, so that they can be found in the record.

use uuid::Uuid;

use crate::base::ids::RequestId;

const RESPONSE: &str = "resp_";

pub fn of_response(request: &RequestId) -> String {
    request.with_prefix(RESPONSE)
}

/// Returns the request whose response has this id; `None`: no response here has it.
pub fn request_of(id: &str) -> Option<RequestId> {
    request_in(id.strip_prefix(RESPONSE)?)
}

fn request_in(hex: &str) -> Option<RequestId> {
    let is_ours = hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { Uuid::try_parse(hex).ok().map(RequestId) } else { None }
}

/// What an item of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    Reasoning,
    Message,
    Call,
}

impl ItemKind {
    const ALL: [ItemKind; 3] = [ItemKind::Reasoning, ItemKind::Message, ItemKind::Call];

    fn prefix(self) -> &'static str {
        match self {
            ItemKind::Reasoning => "rs_",
            ItemKind::Message => "msg_",
            ItemKind::Call => "fc_",
        }
    }
}

/// Returns the id of an item: its kind, the request, and its place in the output.
pub fn of_item(request: &RequestId, kind: ItemKind, index: usize) -> String {
    format!("{}_{index}", request.with_prefix(kind.prefix()))
}

/// Returns what `of_item` was given; `None`: no item here has this id.
pub fn item_of(id: &str) -> Option<(RequestId, ItemKind, usize)> {
    let kind = ItemKind::ALL.into_iter().find(|kind| id.starts_with(kind.prefix()))?;
    let (hex, index) = id[kind.prefix().len()..].split_once('_')?;
    let index = index.parse().ok()?;
    let request = request_in(hex)?;
    (of_item(&request, kind, index) == id).then_some((request, kind, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_by_its_id_and_no_other_spelling() {
        let request = RequestId(Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab));
        for kind in ItemKind::ALL {
            assert_eq!(item_of(&of_item(&request, kind, 12)), Some((request, kind, 12)));
        }
        let hex = "0190123456787abc8def0123456789ab";
        for other in ["", "msg_", "msg__0", "x"].map(str::to_owned).into_iter().chain([
            format!("msg_{hex}"),
            format!("msg_{hex}_"),
            format!("msg_{hex}_-1"),
            format!("msg_{hex}_01"),
            format!("msg_{hex}_in_0"),
            format!("call_{hex}_0"),
            format!("msg_{}_0", hex.to_uppercase()),
            format!("msg_{hex}_99999999999999999999"),
        ]) {
            assert_eq!(item_of(&other), None, "{other}");
        }
    }

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

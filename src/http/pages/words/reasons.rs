//! Why a request was refused, failed or was interrupted.

use crate::http::pages::words::Word;

/// Returns a reason of the record in words.
pub fn reason(code: &str) -> Word {
    Word::of(known(code), code)
}

fn known(code: &str) -> Option<&'static str> {
    Some(match code {
        // Limits.
        "rate_limit_exceeded" => "the requests for 60 s were used up",
        "insufficient_quota" => "a quota was used up",
        "token_slowed" => "slowed: the same request again and again, or failures in a row",
        "token_paused" => "the access token is paused",
        "queue_full" => "too many requests of this person were waiting already",
        "host_busy" => "everybody's waiting room was full, or the wait too long",
        // Who asked.
        "invalid_api_key" => "wrong user name or password, or an access token that is none",
        "permission_denied" => "not allowed",
        "misdirected_request" => "asked for under a name that is not this host's",
        // What was asked.
        "invalid_request" => "a field was wrong",
        "unsupported_parameter" => "a field asked for what is not supported",
        "unsupported_encoding" => "the body was compressed or encoded",
        "context_length_exceeded" => "the prompt was too long",
        "request_too_large" => "too large",
        "request_quarantined" => "the same request crashed a model server a while ago",
        "model_not_found" => "no such model for this person",
        "not_found" => "it does not exist",
        "unknown_url" => "no such route",
        "method_not_allowed" => "the route does not take this method",
        "conflict" => "it did not fit the state of things",
        // The model server.
        "upstream_unreachable" => "the model server did not answer",
        "upstream_error" => "the model server gave up",
        "upstream_died" => "the model server crashed in the middle of it",
        "upstream_timeout" => "the model server took too long",
        // The gateway.
        "audit_unavailable" => "the record could not be written",
        "unavailable" => "the gateway had no room for it, or was stopping",
        "internal_error" => "an error inside the gateway",
        "gateway_stopped" => "the gateway stopped",
        // While it waited or ran.
        "cancelled" => "an admin ended it",
        "account_deleted" => "the account was deleted while it ran",
        "account_disabled" => "the account was disabled while it ran",
        "password_reset" => "the password was reset while it ran",
        "password_changed" => "the password was changed while it ran",
        "token_expired" => "the access token ended while it ran",
        "token_revoked" => "the access token was revoked while it ran",
        "token_suspended" => "the access token was put to sleep while it ran",
        "delegation_ended" => "the access token could not act for others any more while it ran",
        // Why an access token was paused.
        "repeats" => "the same request again and again",
        "errors" => "failures in a row",
        _ => return None,
    })
}

/// Returns what the person can do about a refusal of their own; `None` where there is nothing to do but to read the reason.
pub fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "rate_limit_exceeded" | "token_slowed" => {
            "A client that waits as long as `Retry-After` says gets through. Need more? Ask an admin for a higher limit."
        }
        "insufficient_quota" => "It counts anew later. Need more? Ask an admin for a higher limit.",
        "token_paused" => "Find out what repeats it, then resume the access token.",
        "queue_full" | "host_busy" => "Send it again later, or fewer at once.",
        "invalid_api_key" => "Look whether the access token was revoked or has ended, and whether it was copied whole.",
        "permission_denied" => "The answer to the client says what is missing. An admin can change what you may do.",
        "model_not_found" => "“Set up a client” lists the models that you may use.",
        "context_length_exceeded" | "request_too_large" => "Send a shorter prompt, or fewer and smaller images.",
        "request_quarantined" => "Change the request before you send it again.",
        "upstream_unreachable" | "upstream_died" | "upstream_error" | "upstream_timeout" => {
            "Send it again later. If it stays so, tell an admin."
        }
        "audit_unavailable" | "unavailable" => "Send it again in a moment. If it stays so, tell an admin.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Error;
    use crate::model::record::{AccessEnd, CANCELLED, GATEWAY_STOPPED};
    use crate::model::runaway::Runaway;

    #[test]
    fn each_reason_that_the_record_can_have_has_words() {
        let ends = AccessEnd::ALL.iter().map(|end| end.name());
        let pauses = [Runaway::Repeats, Runaway::Errors].map(Runaway::name);
        let all = Error::CODES.iter().copied().chain(ends).chain(pauses).chain([CANCELLED, GATEWAY_STOPPED]);
        let without: Vec<&str> = all.filter(|code| reason(code).is_code).collect();

        assert!(without.is_empty(), "no words for {without:?}");
    }

    #[test]
    fn a_reason_of_another_version_is_shown_as_it_is() {
        assert_eq!(reason("solar_flare"), Word::code("solar_flare"));
        assert_eq!(remedy("solar_flare"), None);
    }
}

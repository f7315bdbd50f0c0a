//! Sentences of the pages. Those with holes are functions; what fills a hole is escaped by the template.

use crate::http::pages::format::commas;
use crate::http::pages::words::counted;

pub const WRONG_PASSWORD: &str =
    "Wrong e-mail address or password. After a few wrong tries you have to wait a little longer each time.";
pub const PLAIN_HTTP: &str = "This page came over plain HTTP: whoever listens on this network can read your password. Sign in only \
                              on a network that you trust.";
pub const RECORDED_WHAT: &str =
    "Every prompt you send and every answer you get, with your name, the time and your address.";
pub const RECORDED_WHO: &str = "You, and the admins. When an admin opens it, that look is recorded too.";
pub const REGISTERED: &str = "Asked. An admin lets you in; then sign in here. No mail is sent.";
pub const PASSWORD_RULE: &str = "12 characters or more. A few random words make a good one.";
pub const FIRST_ADMIN: &str = "This password is known to everybody. Choose your own: until then nobody can be let in.";
pub const RESET: &str =
    "Their password and every open session end now. Their access tokens sleep until they have set a new one.";
pub const EXPORT_CUT_OFF: &str = "This download was not complete: its last line is no receipt. Export again.";
pub const TOKEN_CREATED: &str =
    "It is shown this once. Copy it now, to where the machine that needs it keeps its secrets.";
pub const TOKEN_SHOWN_BEFORE: &str = "It was shown once. Rotate it to get a new secret.";
pub const TOKEN_DELEGATING: &str = "Each request counts as that of the person whose e-mail address the tool sends along: with \
    their limits, in their record. Whoever has this access token can act for everybody, so keep it on the tool's host alone.";
pub const TOKEN_REVOKE: &str = "It ends at once. What it has running is cut off.";
pub const RETRY_AFTER: &str =
    "A client that waits as long as `Retry-After` says gets through. Need more? Ask an admin for a higher limit.";
pub const SAVED: &str = "Saved. Felt on the next request.";
pub const FORGOTTEN: &str = "Forgot it? An admin can reset it.";
pub const CANCEL: &str = "Its sender gets a 403. This is recorded.";

/// Returns how long contents are kept; `None`: for as long as the account exists.
pub fn recorded_how_long(days: Option<u64>) -> String {
    match days {
        Some(days) => format!("For {}.", counted(days, "day", "days")),
        None => "Until an admin deletes your account. Then prompts and answers are erased; when and how much stays."
            .to_owned(),
    }
}

/// `asked` is a time for a sentence, such as `today at 09:12`.
pub fn waiting(asked: &str) -> String {
    format!(
        "You asked for an account {asked}. The admins see it on their first page. This page opens by itself when one of them \
         has let you in."
    )
}

pub fn approved(name: &str) -> String {
    format!("{name} may sign in now.")
}

pub fn turned_down(name: &str) -> String {
    format!("{name} was turned down. They can ask again.")
}

pub fn one_time_code(name: &str, minutes: u64) -> String {
    format!("Give this code to {name}. It is shown this once and good for {}.", counted(minutes, "minute", "minutes"))
}

pub fn disable(name: &str) -> String {
    format!("What runs is cut off now, and nothing of {name} gets in. You can enable the account again.")
}

pub const DELETE: &str = "Prompts and answers are erased for good. That they existed, when, and how much they used, stays in the \
                          record under “deleted”.";

pub fn deleted(name: &str) -> String {
    format!("{name} is gone. Prompts and answers are being erased.")
}

/// `more` is a time, such as `1 h`.
pub fn rotated(more: &str) -> String {
    format!("The secret before works for {more} more.")
}

/// Says why an access token is paused: `within` is a time, such as `10 min`.
pub fn paused_for_repeats(count: u64, within: &str) -> String {
    let count = counted(count, "time", "times");
    format!("It sent the same request {count} in {within}. Nothing of it runs until somebody resumes it.")
}

pub fn paused_for_errors(count: u64) -> String {
    let count = counted(count, "request", "requests");
    format!("Its last {count} failed, one after the other. Nothing of it runs until somebody resumes it.")
}

pub const PAUSED_FOR_REPEATS: &str =
    "It sent the same request again and again. Nothing of it runs until somebody resumes it.";
pub const PAUSED_FOR_ERRORS: &str =
    "Its requests failed, one after the other. Nothing of it runs until somebody resumes it.";

/// Says why an access token is slowed: `within` is a time, such as `10 min`.
pub fn slowed_for_repeats(count: Option<u64>, within: Option<&str>) -> String {
    let count = count.map_or_else(|| "again and again".to_owned(), |count| counted(count, "time", "times"));
    let within = within.map(|within| format!(" in {within}")).unwrap_or_default();
    format!("It sent the same request {count}{within}. It comes back to its own speed by itself.")
}

pub fn slowed_for_errors(count: Option<u64>) -> String {
    let count = count.map_or_else(|| "requests".to_owned(), |count| counted(count, "request", "requests"));
    format!("Its last {count} failed, one after the other. It comes back to its own speed by itself.")
}

/// Says that a look is recorded.
pub fn looked(name: &str) -> String {
    format!("This page shows what {name} wrote. That you opened it is on the record.")
}

pub fn minute_used_up(limit: u64) -> String {
    format!("You had sent {} in 60 seconds. {RETRY_AFTER}", counted(limit, "request", "requests"))
}

/// `what` is counted already, such as `300,000 model tokens`; `resets` is a time of day, such as `00:00`.
pub fn day_used_up(what: &str, resets: &str) -> String {
    format!("Your {what} for today are used up. They count anew at {resets}.")
}

/// `free` is a size, such as `0 B`; `None` where it is not known.
pub fn cannot_record(free: Option<&str>) -> String {
    let free = free.map(|free| format!(" {free} are free on the data disk: free some.")).unwrap_or_default();
    format!("The record can't be written, so nothing is answered.{free}")
}

/// `server` is the name of the model server, `address` where it should be.
pub fn no_model_server(server: &str, address: &str) -> String {
    format!("{server} does not answer at {address}.")
}

pub const START_OLLAMA: &str = "systemctl start ollama";

pub fn signed_out(minutes: u64) -> String {
    format!("You were signed out after {}. Sign in to go on where you were.", counted(minutes, "minute", "minutes"))
}

/// Returns what a person who tried too often is told; `wait` is a time, such as `4 min`.
pub fn too_many_wrong_passwords(wait: &str) -> String {
    format!("Too many wrong passwords. Try again in {wait}.")
}

/// Returns how many requests run and wait, for screen readers and the queue: `5 wait, 2 run`.
pub fn queue_in_short(waiting: u64, running: u64) -> String {
    let verb =
        |number: u64, one: &str, many: &str| format!("{} {}", commas(number), if number == 1 { one } else { many });
    format!("{}, {}", verb(waiting, "waits", "wait"), verb(running, "runs", "run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_with_holes_read_as_designed() {
        assert_eq!(recorded_how_long(Some(180)), "For 180 days.");
        assert!(recorded_how_long(None).starts_with("Until an admin deletes your account."));
        assert!(waiting("today at 09:12").starts_with("You asked for an account today at 09:12. The admins"));
        assert_eq!(
            one_time_code("bob@example.org", 60),
            "Give this code to bob@example.org. It is shown this once and good for 60 minutes."
        );
        assert_eq!(
            paused_for_repeats(60, "10 min"),
            "It sent the same request 60 times in 10 min. Nothing of it runs until somebody resumes it."
        );
        assert!(minute_used_up(10).starts_with("You had sent 10 requests in 60 seconds. A client"));
        assert_eq!(
            day_used_up("300,000 model tokens", "00:00"),
            "Your 300,000 model tokens for today are used up. They count anew at 00:00."
        );
        assert_eq!(
            cannot_record(Some("0 B")),
            "The record can't be written, so nothing is answered. 0 B are free on the data disk: free some."
        );
        assert_eq!(
            [queue_in_short(5, 2), queue_in_short(1, 1), queue_in_short(0, 0)],
            ["5 wait, 2 run", "1 waits, 1 runs", "0 wait, 0 run"]
        );
        assert_eq!(too_many_wrong_passwords("4 min"), "Too many wrong passwords. Try again in 4 min.");
    }
}

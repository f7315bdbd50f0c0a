//! Sends a notice by mail: one SMTP conversation with one address that was checked, bounded in time and in bytes. Nothing of what
//! the server says is believed further than that.

use std::cell::Cell;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;

use crate::base::secret::Secret;
use crate::base::text::visible;
use crate::model::notice::MailTls;
use crate::upstream::reach::{NoticeBounds, Undelivered, addresses, without};
use crate::upstream::tls;

mod stream;

use stream::{BoundedStream, EncryptedStream};

/// How long a server may take to say goodbye.
const QUIT_MAX: Duration = Duration::from_secs(1);

/// How much of what a server says is shown.
const SAID_CHARS_MAX: usize = 200;

/// A mail server, and how it is spoken to.
pub struct MailServer<'a> {
    pub host: &'a str,
    pub port: u16,
    pub tls: MailTls,
    pub login: Option<(&'a str, &'a Secret<String>)>,
}

impl MailServer<'_> {
    /// Returns the texts that must not be in an error: the password as it is, and as it is sent.
    fn secret_parts(&self) -> Vec<String> {
        let Some((username, password)) = self.login else { return Vec::new() };
        let plain = password.expose();
        vec![BASE64.encode(plain), BASE64.encode(format!("\0{username}\0{plain}")), plain.clone()]
    }
}

/// A mail in plain text.
pub struct PlainMail<'a> {
    pub from: &'a str,
    pub to: &'a [String],
    pub subject: &'a str,
    pub text: &'a str,
    /// The same at each try.
    pub id: &'a str,
}

/// How far a conversation has come, to tell what an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Greeting,
    Encrypting,
    SigningIn,
    Naming,
    /// The server has the whole mail, or a part of it, and has not said yet that it takes it.
    Sending,
}

/// A mail that the server has taken.
struct Taken {
    connection: AsyncSmtpConnection,
    /// Which addresses it did not take it for, if there are some.
    refused: Option<String>,
}

/// Checks an address of a mail.
pub fn check_address(text: &str) -> Result<(), &'static str> {
    // Mail allows spaces between quotes; a list of addresses has spaces between them.
    if text.len() > 254 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be an e-mail address in ASCII, without spaces");
    }
    text.parse::<Address>().map(drop).map_err(|_| "must be an e-mail address, as in admin@example.org")
}

/// Sends a mail. A try that may have arrived is not repeated: mail servers don't tell a second one from the first.
pub async fn send(server: &MailServer<'_>, mail: &PlainMail<'_>, bounds: NoticeBounds) -> Result<(), Undelivered> {
    let stage = Cell::new(Stage::Connecting);
    let mut taken = match tokio::time::timeout(bounds.time_max, converse(server, mail, bounds, &stage)).await {
        Ok(done) => done?,
        Err(_) => {
            let words = format!("it was not done within {} s; {}", bounds.time_max.as_secs(), stage.get().at());
            return Err(stage.get().broke_off(words));
        }
    };
    // It has the mail; how the conversation ends does not matter.
    let _ = tokio::time::timeout(QUIT_MAX, taken.connection.quit()).await;
    taken.refused.map_or(Ok(()), |words| Err(Undelivered::for_good(words)))
}

async fn converse(
    server: &MailServer<'_>,
    mail: &PlainMail<'_>,
    bounds: NoticeBounds,
    stage: &Cell<Stage>,
) -> Result<Taken, Undelivered> {
    let message = message(mail).map_err(Undelivered::for_good)?;
    let secrets = server.secret_parts();
    let failed = |cause: SmtpError| stage.get().failed(&cause, &secrets);
    let stream = connect(server, bounds).await?;
    let hello = ClientId::default();
    let mut connection = match server.tls {
        MailTls::Implicit => {
            stage.set(Stage::Encrypting);
            let stream = EncryptedStream::open(stream, parameters(server).await?).await.map_err(failed)?;
            stage.set(Stage::Greeting);
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await.map_err(failed)?
        }
        MailTls::Starttls => {
            stage.set(Stage::Greeting);
            let mut connection =
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await.map_err(failed)?;
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(Undelivered::for_good("it offers no STARTTLS, without which nothing is sent to it"));
            }
            stage.set(Stage::Encrypting);
            connection.starttls(parameters(server).await?, &hello).await.map_err(failed)?;
            connection
        }
        MailTls::None => {
            stage.set(Stage::Greeting);
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await.map_err(failed)?
        }
    };
    if let Some((username, password)) = server.login {
        stage.set(Stage::SigningIn);
        let login = Credentials::new(username.to_owned(), password.expose().clone());
        connection.auth(DEFAULT_MECHANISMS, &login).await.map_err(failed)?;
    }
    stage.set(Stage::Naming);
    let envelope = message.envelope();
    connection.command(Mail::new(envelope.from().cloned(), Vec::new())).await.map_err(failed)?;
    let mut refused = Vec::new();
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => {}
            // An address that exists no more must not keep the mail from the others.
            Err(cause) if cause.is_permanent() && refused.len() + 1 < envelope.to().len() => {
                refused.push((to.to_string(), cause));
            }
            Err(cause) => return Err(failed(cause)),
        }
    }
    connection.command(Data).await.map_err(failed)?;
    stage.set(Stage::Sending);
    connection.message(&message.formatted()).await.map_err(failed)?;
    let refused = refused.first().map(|(_, cause)| {
        let addresses: Vec<&str> = refused.iter().map(|(address, _)| address.as_str()).collect();
        format!("it refused {}, and the others got it: {}", addresses.join(", "), said(cause, &secrets))
    });
    Ok(Taken { connection, refused })
}

async fn connect(server: &MailServer<'_>, bounds: NoticeBounds) -> Result<BoundedStream, Undelivered> {
    let found = addresses(server.host, server.port, bounds.allow_this_host, bounds.connect_timeout).await;
    let mut last = "it has no address".to_owned();
    for address in found.map_err(Undelivered::later)? {
        match tokio::time::timeout(bounds.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(BoundedStream::new(stream)),
            Ok(Err(cause)) => last = format!("no connection: {cause}"),
            Err(_) => last = format!("no connection within {} s", bounds.connect_timeout.as_secs()),
        }
    }
    Err(Undelivered::later(last))
}

/// Returns how the server's certificate is checked: for its name, with the certificates that this host trusts.
async fn parameters(server: &MailServer<'_>) -> Result<TlsParameters, Undelivered> {
    let builder = TlsParameters::builder(server.host.to_owned());
    // It reads the certificates from the disk.
    let made = tokio::task::spawn_blocking(|| builder.build_rustls()).await;
    made.ok()
        .and_then(Result::ok)
        .ok_or_else(|| Undelivered::for_good("no certificate can be checked for this name of a server"))
}

fn message(mail: &PlainMail<'_>) -> Result<Message, String> {
    let mailbox = |text: &str| {
        let address = text.parse::<Address>().map_err(|_| format!("`{}` is no e-mail address", visible(text)))?;
        Ok::<_, String>(Mailbox::new(None, address))
    };
    let mut builder = Message::builder()
        .from(mailbox(mail.from)?)
        .subject(one_line(mail.subject))
        .message_id(Some(format!("<{}@{}>", mail.id, mail.from.rsplit('@').next().unwrap_or("localhost"))))
        .date_now()
        .header(ContentType::TEXT_PLAIN)
        // So that no answering machine answers.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for to in mail.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(mail.text.to_owned()).map_err(|cause| format!("the mail can't be made: {cause}"))
}

/// Returns a text without line ends and other characters that a header must not have.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

impl Stage {
    /// Returns the failure of this stage.
    fn failed(self, cause: &SmtpError, secrets: &[String]) -> Undelivered {
        let words = words(self, cause, secrets);
        match self {
            // It says that it did not take the mail: for now, as greylisting does, or for good.
            Stage::Sending if cause.is_transient() => Undelivered::later(words),
            Stage::Sending if cause.is_permanent() => Undelivered::for_good(words),
            _ => self.broke_off(words),
        }
    }

    /// Returns the failure of a conversation that broke off. What may have arrived is not sent again.
    fn broke_off(self, words: String) -> Undelivered {
        match self {
            Stage::Sending => Undelivered::for_good(format!("{words}; it may have arrived, so it is not sent again")),
            _ => Undelivered::later(words),
        }
    }

    fn at(self) -> &'static str {
        match self {
            Stage::Connecting => "no connection was made",
            Stage::Greeting => "it did not greet",
            Stage::Encrypting => "TLS was not set up",
            Stage::SigningIn => "it did not answer to the sign-in",
            Stage::Naming => "it did not answer to the addresses",
            Stage::Sending => "it did not say that it takes the mail",
        }
    }
}

/// Returns what went wrong, in words for the admin.
fn words(stage: Stage, cause: &SmtpError, secrets: &[String]) -> String {
    if let Some(words) = tls::failure_in(cause) {
        return words;
    }
    let said = said(cause, secrets);
    if cause.is_permanent() || cause.is_transient() {
        let what = match stage {
            Stage::Connecting | Stage::Greeting => "it refused the connection",
            Stage::Encrypting => "it refused STARTTLS",
            Stage::SigningIn => "it did not accept the user name or the password",
            Stage::Naming => "it refused the addresses",
            Stage::Sending => "it refused the mail",
        };
        return format!("{what}: {said}");
    }
    if cause.is_response() {
        return format!("what it said is no SMTP ({}): {said}", stage.at());
    }
    match stage {
        Stage::SigningIn if cause.is_client() => "it offers no way to sign in that is known here (PLAIN, LOGIN)".into(),
        _ => format!("the connection broke: {said}; {}", stage.at()),
    }
}

/// Returns an error's own words, without secrets, shortened and without what a terminal would obey.
fn said(cause: &SmtpError, secrets: &[String]) -> String {
    let text = visible(&without(secrets, &cause.to_string())).into_owned();
    match text.char_indices().nth(SAID_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_hold_no_line_ends() {
        for good in ["admin@example.org", "a.b+c@sub.example.org"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "admin",
            "@example.org",
            "admin@",
            "a b@example.org",
            "Admin <admin@example.org>",
            "ä@example.org",
            "admin@example.org\r\nBcc: x@y.z",
            "admin@example.org,b@example.org",
            "<admin@example.org>",
            "\"a b\"@example.org",
            "\"a\tb\"@example.org",
        ] {
            assert!(check_address(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_address(&format!("{}@example.org", "a".repeat(300))).is_err());
    }

    #[test]
    fn no_text_becomes_a_header_of_its_own() {
        let to = ["admin@example.org".to_owned()];
        let mail = PlainMail {
            from: "gateway@example.org",
            to: &to,
            subject: "ann\r\nBcc: evil@example.org\r\n\r\nhello ü",
            text: "one\r\n.\r\nQUIT\r\ntwo",
            id: "n1",
        };

        let text = String::from_utf8(message(&mail).unwrap().formatted()).unwrap();

        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\r\nbcc:"), "{head}");
        assert!(
            head.contains("Message-ID: <n1@example.org>") && head.contains("Auto-Submitted: auto-generated"),
            "{head}"
        );
        assert!(head.contains("Date: ") && !body.is_empty(), "{head}");
    }

    #[test]
    fn what_may_have_arrived_is_not_sent_again() {
        let stages = [Stage::Connecting, Stage::Greeting, Stage::Encrypting, Stage::SigningIn, Stage::Naming];
        assert!(stages.iter().all(|stage| stage.broke_off("x".into()).may_retry));
        let sending = Stage::Sending.broke_off("x".into());
        assert!(!sending.may_retry && sending.words.contains("may have arrived"), "{sending:?}");
    }
}

//! `POST /chat`'s body: credentials, and Ollama's fields of a chat.

use serde::Deserialize;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::dialect::Head;
use crate::dialect::json::{self, At, Object, Sent};
use crate::dialect::native::Front;
use crate::dialect::native::request::{self, NativeChat};
use crate::model::credential::{Credential, Username};

pub struct LegacyChat {
    pub asked: NativeChat,
    pub credential: Option<Credential>,
}

pub fn read(mut body: Object<'_>, head: &dyn Head) -> Result<LegacyChat, Error> {
    let auth = json::take(&mut body, "auth");
    let mut asked = request::read(body, Front::Chat { default_model: head.default_model() })?;
    let at = At::Body.key("auth");
    let auth = auth.map(|auth| auth.read(&at, &mut asked.ignored)).transpose()?;
    let credential = auth.map(|auth| read_auth(auth, &at)).transpose()?;
    Ok(LegacyChat { asked, credential })
}

/// Maximum length of a name or password: no account has a longer one, and hashing it would cost time before authentication.
pub const AUTH_BYTES_MAX: usize = 1024;

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAuth {
    password: Sent<Secret<String>>,
    username: Sent<String>,
}

fn read_auth(auth: WireAuth, at: &At<'_>) -> Result<Credential, Error> {
    let missing = |name| at.key(name).invalid("is missing; send `username` and `password`");
    let username = auth.username.0.ok_or_else(|| missing("username"))?;
    let password = auth.password.0.ok_or_else(|| missing("password"))?;
    for (name, text) in [("username", &username), ("password", password.expose())] {
        if text.len() > AUTH_BYTES_MAX {
            return Err(at.key(name).invalid(format_args!("is longer than {AUTH_BYTES_MAX} bytes")));
        }
    }
    Ok(Credential::Password { username: Username::of(&username), password })
}

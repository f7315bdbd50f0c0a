//! Views that several routes or the command line show: users, limits, tokens, settings.

use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::api_token;
use crate::base::clock::Timestamp;
use crate::model::people::{People, User, UserRole, UserStatus};
use crate::model::rights::quotas::Quotas;
use crate::model::rights::{Class, Scope};
use crate::model::runaway::Runaway;
use crate::model::token::{Token, TokenStatus};
use crate::rules::accounts::lists::UserFacts;
use crate::rules::limits::{Left, QuotaAccount};
use crate::rules::tokens::Fresh;
use crate::store::settings::SettingState;

/// An account, as its user and admins see it.
#[derive(Serialize, ToSchema)]
pub struct UserView {
    #[schema(format = Uuid)]
    pub id: String,
    #[schema(example = "ann@example.org")]
    pub username: String,
    #[schema(value_type = UserRole)]
    pub role: &'static str,
    #[schema(value_type = UserStatus)]
    pub status: &'static str,
    pub must_change_password: bool,
    /// The account's own limit; null: the gateway's.
    pub requests_per_minute: Option<i64>,
    /// The account's own quotas; null: the gateway's.
    pub quotas: Quotas,
    /// The models that the user may use; null: all.
    pub models: Option<Vec<String>>,
    /// Queue weight, 1 by default: a higher weight gets more GPU time while others wait.
    pub weight: i64,
    #[schema(value_type = Class)]
    pub class: &'static str,
    /// The network that a registration came from, while it waits for approval: an IPv4 address or an IPv6 /64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "192.168.1.77")]
    pub registered_from: Option<String>,
    /// The name of the delegating token by which the person came, while they wait for approval; absent: they registered
    /// themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Open WebUI")]
    pub registered_by: Option<String>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub approved_at: Option<String>,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        UserView {
            id: user.public_id.clone(),
            username: user.name().to_owned(),
            role: user.role.name(),
            status: user.status.name(),
            must_change_password: user.must_change,
            requests_per_minute: user.requests_per_minute,
            quotas: user.quotas,
            models: user.models.words(),
            weight: user.weight,
            class: user.class.name(),
            registered_from: user.registered_from.clone(),
            registered_by: user.registered_by.clone(),
            created_at: Timestamp(user.created_at_us).rfc3339(),
            approved_at: user.approved_at_us.map(|at| Timestamp(at).rfc3339()),
        }
    }
}

/// What is known of a person beside their account.
#[derive(Serialize, ToSchema)]
pub struct UserFactsView {
    /// Their last request, also if it was refused; absent: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub last_request_at: Option<String>,
    /// How many of their tokens can be used now.
    pub open_tokens: usize,
    /// Who approved the account; absent: the operator, on the host, or it was not approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "maria@example.org")]
    pub approved_by: Option<String>,
}

impl From<UserFacts> for UserFactsView {
    fn from(facts: UserFacts) -> Self {
        UserFactsView {
            last_request_at: facts.last_request_at.map(Timestamp::rfc3339),
            open_tokens: facts.open_tokens,
            approved_by: facts.approved_by,
        }
    }
}

/// The state of one limit.
#[derive(Serialize, ToSchema)]
pub struct LeftView {
    /// Null: no limit.
    pub limit: Option<u64>,
    pub used: u64,
    /// Reserved for running requests; what they don't use is released.
    pub reserved: u64,
    /// Null: no limit.
    pub left: Option<u64>,
    /// When the whole limit is available again.
    #[schema(format = DateTime)]
    pub resets_at: String,
}

impl LeftView {
    fn of(left: Left, now: Timestamp) -> Self {
        LeftView {
            limit: left.limit,
            used: left.used,
            reserved: left.reserved,
            left: left.left(),
            resets_at: now.plus(left.resets_in).rfc3339(),
        }
    }
}

/// All limits of one user or token.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    pub requests_per_minute: LeftView,
    pub tokens_per_minute: LeftView,
    pub requests_per_day: LeftView,
    pub tokens_per_day: LeftView,
    pub gpu_seconds_per_day: LeftView,
}

impl From<QuotaAccount> for AccountView {
    fn from(account: QuotaAccount) -> Self {
        let now = Timestamp::now();
        let view = |left| LeftView::of(left, now);
        AccountView {
            requests_per_minute: view(account.requests_per_minute),
            tokens_per_minute: view(account.tokens_per_minute),
            requests_per_day: view(account.requests_per_day),
            tokens_per_day: view(account.tokens_per_day),
            gpu_seconds_per_day: view(account.gpu_seconds_per_day),
        }
    }
}

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    #[schema(example = "4sTq9ZbM1x")]
    pub id: String,
    /// The first characters of the token.
    #[schema(example = "lgw_m_4sTq9ZbM1x")]
    pub prefix: String,
    pub name: String,
    /// The owner.
    #[schema(example = "ann@example.org")]
    pub user: String,
    /// The owner's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub user_id: Option<String>,
    #[schema(value_type = TokenStatus)]
    pub status: &'static str,
    /// Why the token was paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Runaway>)]
    pub pause_reason: Option<&'static str>,
    /// When it was suspended or paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub suspended_at: Option<String>,
    #[schema(value_type = Vec<Scope>)]
    pub scopes: Vec<&'static str>,
    /// Whether its requests are those of people whom a tool names in a header.
    pub delegating: bool,
    /// Absent: every model of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Absent: every network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<i64>,
    /// The token's own quotas, in addition to its owner's.
    pub quotas: Quotas,
    /// Absent: the owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Class>)]
    pub class: Option<&'static str>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Accurate to five minutes; absent: never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
}

impl TokenView {
    pub fn of(token: &Token, owner: Option<&User>) -> Self {
        TokenView {
            id: token.public_id.clone(),
            prefix: api_token::prefix_of(&token.public_id),
            name: token.name.clone(),
            user: owner.map(|owner| owner.name().to_owned()).unwrap_or_default(),
            user_id: owner.map(|owner| owner.public_id.clone()),
            status: token.status(Timestamp::now()).name(),
            pause_reason: token.paused.map(Runaway::name),
            suspended_at: token.suspended_at_us.map(Timestamp).map(Timestamp::rfc3339),
            scopes: token.scopes.words(),
            delegating: token.delegating,
            models: token.models.words(),
            networks: token.networks.as_ref().map(|networks| networks.iter().map(ToString::to_string).collect()),
            requests_per_minute: token.requests_per_minute,
            quotas: token.quotas,
            class: token.class.map(Class::name),
            created_at: Timestamp(token.created_at_us).rfc3339(),
            expires_at: Timestamp(token.expires_at_us).rfc3339(),
            last_used_at: token.last_used_at().map(Timestamp::rfc3339),
            revoked_at: token.revoked_at_us.map(Timestamp).map(Timestamp::rfc3339),
        }
    }
}

/// A token with its secret, which is shown only once.
#[derive(Serialize, ToSchema)]
pub struct FreshToken {
    /// Send it as `Authorization: Bearer …` or as `x-api-key`. It is not shown again.
    #[schema(example = "lgw_m_4sTq9ZbM1x_…")]
    pub token: String,
    #[serde(flatten)]
    pub view: TokenView,
}

impl FreshToken {
    pub fn of(fresh: &Fresh, owner: Option<&User>) -> Self {
        FreshToken { token: fresh.secret.expose().clone(), view: TokenView::of(&fresh.token, owner) }
    }
}

/// A setting that can be changed while the gateway runs.
#[derive(Serialize, ToSchema)]
pub struct SettingView {
    #[schema(example = "requests_per_minute")]
    pub name: &'static str,
    /// Its section in the configuration file.
    #[schema(example = "limits")]
    pub section: &'static str,
    /// The current value.
    #[schema(example = 20)]
    pub value: u64,
    /// The value in the configuration file, or the default. Null in a change restores it.
    #[schema(example = 10)]
    pub of_file: u64,
    /// The built-in value, where neither the file nor an admin sets one.
    #[schema(example = 10)]
    pub default: u64,
    /// Whether `value` was changed at run time.
    pub overridden: bool,
    /// Smallest allowed value.
    pub least: u64,
    /// Largest allowed value.
    pub most: u64,
    #[schema(example = "requests")]
    pub unit: &'static str,
    pub about: &'static str,
    /// When it was changed at run time.
    #[schema(format = DateTime)]
    pub changed_at: Option<String>,
    /// Who changed it; null when it was changed on the host.
    pub changed_by: Option<String>,
}

impl SettingView {
    pub fn of(state: &SettingState, people: &People) -> Self {
        let changed = state.changed.as_ref();
        SettingView {
            name: state.setting.name,
            section: state.setting.section,
            value: state.value,
            of_file: state.of_file,
            default: state.setting.default,
            overridden: changed.is_some(),
            least: state.setting.least,
            most: state.setting.most,
            unit: state.setting.unit,
            about: state.setting.about(),
            changed_at: changed.map(|row| Timestamp(row.changed_at_us).rfc3339()),
            changed_by: changed.and_then(|row| row.changed_by).map(|id| people.name_of(id)),
        }
    }
}

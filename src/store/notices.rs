//! Channels for notices, what was told, and what could not be delivered yet. Each change of a channel writes its act.

use diesel::prelude::*;
use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::base::ids::public_id;
use crate::model::notice::{ChannelKind, ChannelWay, LastDelivery, MailTls, Notice, NoticeChannel, NoticeKind};
use crate::model::people::Actor;
use crate::model::record::Act;
use crate::store::people::check_acting_admin;
use crate::store::schema::{notice_channels, notices_told, notices_unsent};
use crate::store::{Store, Tx, WriteFailure, audit};

/// A channel to be written, checked.
pub struct NewNoticeChannel {
    pub name: String,
    pub is_on: bool,
    pub kinds: Vec<NoticeKind>,
}

/// What was told of one kind: the subjects that last, and when the last notice was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldNotices {
    pub subjects: Vec<String>,
    pub last_us: Option<i64>,
}

/// A notice that a channel has not taken yet.
#[derive(Debug, Clone)]
pub struct UnsentNotice {
    pub channel_id: i64,
    pub notice: Notice,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = notice_channels, treat_none_as_null = true)]
struct ChannelRow {
    public_id: String,
    name: String,
    kind: String,
    is_on: bool,
    notices: String,
    place: String,
    url: Option<Vec<u8>>,
    secret: Option<Vec<u8>>,
    port: Option<i64>,
    tls: Option<String>,
    username: Option<String>,
    sender: Option<String>,
    recipients: Option<String>,
    created_at_us: i64,
    delivered_at_us: Option<i64>,
    failed_at_us: Option<i64>,
    failure: Option<String>,
}

impl ChannelRow {
    fn of(channel: &NoticeChannel) -> ChannelRow {
        let LastDelivery { delivered_at_us, failed_at_us, failure } = channel.last.clone();
        let names: Vec<&str> = channel.kinds.iter().map(|kind| kind.name()).collect();
        let mut row = ChannelRow {
            public_id: channel.public_id.clone(),
            name: channel.name.clone(),
            kind: channel.way.kind().name().to_owned(),
            is_on: channel.is_on,
            notices: names.join(" "),
            place: String::new(),
            url: None,
            secret: None,
            port: None,
            tls: None,
            username: None,
            sender: None,
            recipients: None,
            created_at_us: channel.created_at_us,
            delivered_at_us,
            failed_at_us,
            failure,
        };
        match channel.way.clone() {
            ChannelWay::Webhook { place, url, secret } => {
                (row.place, row.url, row.secret) = (place, Some(url), secret);
            }
            ChannelWay::Mail { host, port, tls, username, password, from, to } => {
                (row.place, row.port, row.tls) = (host, Some(port.into()), Some(tls.name().to_owned()));
                (row.username, row.secret) = (username, password);
                (row.sender, row.recipients) = (Some(from), Some(to.join(" ")));
            }
        }
        row
    }

    /// Returns the channel; a word that another version wrote is left out.
    fn read(self, id: i64) -> NoticeChannel {
        let way = match ChannelKind::parse(&self.kind) {
            Ok(ChannelKind::Mail) => ChannelWay::Mail {
                host: self.place,
                port: self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
                // The strictest, if it can't be read.
                tls: self.tls.as_deref().and_then(|tls| MailTls::parse(tls).ok()).unwrap_or(MailTls::Implicit),
                username: self.username,
                password: self.secret,
                from: self.sender.unwrap_or_default(),
                to: self.recipients.unwrap_or_default().split(' ').map(str::to_owned).collect(),
            },
            Ok(ChannelKind::Webhook) | Err(_) => {
                ChannelWay::Webhook { place: self.place, url: self.url.unwrap_or_default(), secret: self.secret }
            }
        };
        NoticeChannel {
            id,
            public_id: self.public_id,
            name: self.name,
            is_on: self.is_on,
            kinds: self.notices.split(' ').filter_map(NoticeKind::named).collect(),
            way,
            created_at_us: self.created_at_us,
            last: LastDelivery {
                delivered_at_us: self.delivered_at_us,
                failed_at_us: self.failed_at_us,
                failure: self.failure,
            },
        }
    }
}

fn all(connection: &mut SqliteConnection) -> QueryResult<Vec<NoticeChannel>> {
    let rows: Vec<(i64, ChannelRow)> = notice_channels::table
        .order(notice_channels::id)
        .select((notice_channels::id, ChannelRow::as_select()))
        .load(connection)?;
    Ok(rows.into_iter().map(|(id, row)| row.read(id)).collect())
}

fn find(tx: &mut Tx<'_>, public_id: &str) -> Result<NoticeChannel, WriteFailure> {
    let found: Option<(i64, ChannelRow)> = notice_channels::table
        .filter(notice_channels::public_id.eq(public_id))
        .select((notice_channels::id, ChannelRow::as_select()))
        .first(tx.connection)
        .optional()?;
    let (id, row) = found.ok_or_else(|| Error::NotFound { what: "such notice channel".into() })?;
    Ok(row.read(id))
}

/// Refuses a name that another channel has: people name channels by it.
fn check_name(tx: &mut Tx<'_>, channel: &NoticeChannel) -> Result<(), WriteFailure> {
    let others = notice_channels::table.filter(notice_channels::name.eq(&channel.name));
    let others: i64 = others.filter(notice_channels::id.ne(channel.id)).count().get_result(tx.connection)?;
    match others {
        0 => Ok(()),
        _ => Err(Error::invalid("name", "`name` is the name of another channel").into()),
    }
}

/// Returns what the record tells of a channel: where it leads, and nothing that is secret.
fn told_of(channel: &NoticeChannel) -> Map<String, Value> {
    let names: Vec<&str> = channel.kinds.iter().map(|kind| kind.name()).collect();
    let mut told = Map::new();
    told.insert("kind".into(), channel.way.kind().name().into());
    told.insert("place".into(), channel.way.place().into());
    told.insert("on".into(), channel.is_on.into());
    told.insert("notices".into(), names.into());
    if let ChannelWay::Mail { tls, username, from, to, .. } = &channel.way {
        told.insert("tls".into(), tls.name().into());
        told.insert("username".into(), json!(username));
        told.insert("from".into(), from.as_str().into());
        told.insert("to".into(), json!(to));
    }
    told
}

fn secrets_of(way: &ChannelWay) -> [Option<&Vec<u8>>; 2] {
    match way {
        ChannelWay::Webhook { url, secret, .. } => [Some(url), secret.as_ref()],
        ChannelWay::Mail { password, .. } => [None, password.as_ref()],
    }
}

impl Store {
    pub async fn notice_channels(&self) -> Result<Vec<NoticeChannel>, Error> {
        self.read(all).await
    }

    /// Adds a channel, unless there are `channels_max`. `way` gets the id of the channel, which its secrets are sealed for.
    pub async fn add_notice_channel(
        &self,
        by: Actor,
        new: NewNoticeChannel,
        channels_max: usize,
        way: impl FnOnce(&str) -> ChannelWay + Send + 'static,
    ) -> Result<NoticeChannel, Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let count: i64 = notice_channels::table.count().get_result(tx.connection)?;
            if usize::try_from(count).unwrap_or(usize::MAX) >= channels_max {
                let message = format!("there are {count} channels already, which is the most (`notices.channels_max`)");
                return Err(Error::conflict(message).into());
            }
            let public_id = public_id();
            let way = way(&public_id);
            let NewNoticeChannel { name, is_on, kinds } = new;
            let created_at_us = tx.now.0;
            let last = LastDelivery::default();
            let mut channel = NoticeChannel { id: 0, public_id, name, is_on, kinds, way, created_at_us, last };
            check_name(tx, &channel)?;
            channel.id = diesel::insert_into(notice_channels::table)
                .values(ChannelRow::of(&channel))
                .returning(notice_channels::id)
                .get_result(tx.connection)?;
            let detail = json!({ "name": channel.name, "new": told_of(&channel) }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::NoticeChannelAdded, by.0, None, Some(detail))?;
            Ok(channel)
        })
        .await
    }

    /// Changes a channel as `edit` says; the act has what was before.
    pub async fn change_notice_channel(
        &self,
        by: Actor,
        public_id: String,
        edit: impl FnOnce(NoticeChannel) -> Result<NoticeChannel, Error> + Send + 'static,
    ) -> Result<NoticeChannel, Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let before = find(tx, &public_id)?;
            let mut after = edit(before.clone())?;
            (after.id, after.last) = (before.id, before.last.clone());
            if after == before {
                return Ok(after);
            }
            check_name(tx, &after)?;
            let row = ChannelRow::of(&after);
            diesel::update(notice_channels::table.find(before.id)).set(row).execute(tx.connection)?;
            let (mut old, mut new) = (told_of(&before), told_of(&after));
            if before.name != after.name {
                old.insert("name".into(), before.name.clone().into());
                new.insert("name".into(), after.name.clone().into());
            }
            let same: Vec<String> = old.keys().filter(|key| old.get(*key) == new.get(*key)).cloned().collect();
            for key in same {
                old.remove(&key);
                new.remove(&key);
            }
            let new_secret = secrets_of(&before.way) != secrets_of(&after.way);
            let detail = json!({ "name": before.name, "old": old, "new": new, "new_secret": new_secret }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::NoticeChannelChanged, by.0, None, Some(detail))?;
            Ok(after)
        })
        .await
    }

    /// Removes a channel, and what was still to be sent to it.
    pub async fn remove_notice_channel(&self, by: Actor, public_id: String) -> Result<(), Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let channel = find(tx, &public_id)?;
            let unsent = notices_unsent::table.filter(notices_unsent::channel_id.eq(channel.id));
            diesel::delete(unsent).execute(tx.connection)?;
            diesel::delete(notice_channels::table.find(channel.id)).execute(tx.connection)?;
            let detail = json!({ "name": channel.name, "old": told_of(&channel) }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::NoticeChannelRemoved, by.0, None, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Writes that an admin tries a channel. It is written before something is sent.
    pub async fn note_notice_test(&self, by: Actor, channel: &NoticeChannel) -> Result<(), Error> {
        let detail = json!({ "name": channel.name, "place": channel.way.place() }).to_string();
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            audit::insert_act(tx.connection, tx.now, Act::NoticeChannelTested, by.0, None, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Returns what was told, by the name of its kind, and what is still to be delivered.
    pub async fn notices_left(&self) -> Result<(Vec<(String, ToldNotices)>, Vec<UnsentNotice>), Error> {
        self.read(|connection| {
            let rows: Vec<(String, String, i64)> = notices_told::table.order(notices_told::kind).load(connection)?;
            let mut told: Vec<(String, ToldNotices)> = Vec::new();
            for (kind, subject, at_us) in rows {
                if told.last().is_none_or(|(last, _)| *last != kind) {
                    told.push((kind, ToldNotices::default()));
                }
                match told.last_mut() {
                    Some((_, told)) if subject.is_empty() => told.last_us = Some(at_us),
                    Some((_, told)) => told.subjects.push(subject),
                    None => {}
                }
            }
            let unsent = notices_unsent::table.order(notices_unsent::at_us);
            let unsent: Vec<(i64, String)> =
                unsent.select((notices_unsent::channel_id, notices_unsent::body)).load(connection)?;
            let read = |(channel_id, body): (i64, String)| {
                Some(UnsentNotice { channel_id, notice: serde_json::from_str(&body).ok()? })
            };
            Ok((told, unsent.into_iter().filter_map(read).collect()))
        })
        .await
    }

    /// Keeps what was told and what is still to be delivered, in place of what was kept before.
    pub async fn keep_notices(&self, told: Vec<(String, ToldNotices)>, unsent: Vec<UnsentNotice>) -> Result<(), Error> {
        self.write(move |tx| {
            diesel::delete(notices_told::table).execute(tx.connection)?;
            diesel::delete(notices_unsent::table).execute(tx.connection)?;
            for (kind, ToldNotices { subjects, last_us }) in &told {
                let last = last_us.map(|at_us| ("", at_us)).into_iter();
                let lasting = subjects.iter().map(|subject| (subject.as_str(), last_us.unwrap_or_default()));
                for (subject, at_us) in last.chain(lasting) {
                    let row =
                        (notices_told::kind.eq(kind), notices_told::subject.eq(subject), notices_told::at_us.eq(at_us));
                    diesel::insert_or_ignore_into(notices_told::table).values(row).execute(tx.connection)?;
                }
            }
            for UnsentNotice { channel_id, notice } in &unsent {
                let row = (
                    notices_unsent::notice_id.eq(&notice.id),
                    notices_unsent::channel_id.eq(channel_id),
                    notices_unsent::at_us.eq(notice.at_us),
                    notices_unsent::body.eq(json!(notice).to_string()),
                );
                diesel::insert_or_ignore_into(notices_unsent::table).values(row).execute(tx.connection)?;
            }
            Ok(())
        })
        .await
    }

    /// Keeps how the last delivery of a channel ended, without waiting for the disk.
    pub fn keep_last_delivery_soon(&self, channel_id: i64, last: LastDelivery) {
        self.write_soon(move |tx| {
            let target = notice_channels::table.find(channel_id);
            let last = (
                notice_channels::delivered_at_us.eq(last.delivered_at_us),
                notice_channels::failed_at_us.eq(last.failed_at_us),
                notice_channels::failure.eq(last.failure),
            );
            Ok(diesel::update(target).set(last).execute(tx.connection)?)
        });
    }
}

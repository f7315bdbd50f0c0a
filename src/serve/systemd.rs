//! What systemd is told of this process, by the protocol of sd_notify(3), and when its watchdog is fed.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. The gateway starts no other program, so none inherits that.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::base::error::chain;
use crate::host::watch::Served;
use crate::rules::routing::{Condition, UpstreamState};
use crate::serve::alive::{self, HangLimits, WRITE_TIME_MAX};
use crate::serve::app::App;

/// The status text is renewed this often, and the watchdog fed, unless it wants more.
const BEAT: Duration = Duration::from_secs(5);

/// The shares of the watchdog's time after which it is fed again, and after which the rest of a check counts as hung.
const FEED_SHARE: u32 = 4;
const ACCEPT_SHARE: u32 = 3;

/// Time after the last turn of a worker's loop, from which on it counts as hung.
const TURN_MAX: Duration = Duration::from_secs(20);

/// Tells that the gateway listens and serves.
pub fn ready(app: &App, served: &Served) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(served, &app.stages.routing.seen()))]);
}

/// Tells that the gateway stops, and how long that takes at most, which the configuration may have made longer than the unit says.
pub fn stopping(longest: Duration) {
    let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: answers that run may end"),
        NotifyState::ExtendTimeoutUsec(longest),
    ]);
}

/// Renews the status text, and feeds the watchdog while nothing hangs, until it is dropped.
pub async fn attend(app: Arc<App>) {
    let watchdog = sd_notify::watchdog_enabled();
    let beat = watchdog.map_or(BEAT, |time| BEAT.min(time / FEED_SHARE));
    let (mut said, mut hung) = (String::new(), None);
    loop {
        tokio::time::sleep(beat).await;
        let Some(served) = app.watch.served() else { continue };
        let status = status(&served, &app.stages.routing.seen());
        if status != said {
            tell(&[NotifyState::Status(&status)]);
            said = status;
        }
        let Some(time) = watchdog else { continue };
        let limits = HangLimits { turn: TURN_MAX, accept: time / ACCEPT_SHARE, write: WRITE_TIME_MAX };
        let hangs = alive::what_hangs(&app.loops, app.store.writing_for(), &served.addresses(), limits).await;
        match &hangs {
            None => tell(&[NotifyState::Watchdog]),
            // One line for each thing that hangs; its seconds go on.
            Some(reason) if hung.is_none() => {
                warn!(reason, "the watchdog is not fed; systemd restarts the gateway soon")
            }
            Some(_) => {}
        }
        hung = hangs;
    }
}

fn status(served: &Served, upstreams: &[UpstreamState]) -> String {
    let up = upstreams.iter().filter(|upstream| upstream.condition == Condition::Up).count();
    format!("serving on {}, {up} of {} upstreams up", served.urls().join(" and "), upstreams.len())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(states) {
        warn!(cause = chain(&cause), "systemd can't be told about the gateway");
    }
}

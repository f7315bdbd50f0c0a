//! The first check of every request: its network, its `Host` name, and that no foreign page sent it.

use std::net::IpAddr;

use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use crate::base::error::Error;
use crate::http::callers::is_from_the_host;
use crate::http::head::address;
use crate::http::hosts::Hosts;
use crate::http::refusals::note_refusal;

/// Networks whose clients are served.
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    fn serve(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Refuses a request from a foreign network, with a foreign `Host` name or from a foreign page, before anything of it is read.
pub fn check_entrance(request: &HttpRequest) -> Result<(), Error> {
    // The control socket has neither networks nor names; the rights of its file protect it.
    if is_from_the_host(request) {
        return Ok(());
    }
    let served = match (request.app_data::<web::Data<Networks>>(), address(request)) {
        (Some(networks), Some(address)) => networks.serve(address),
        _ => false,
    };
    if !served {
        let message = "this gateway serves its own network alone; an admin can add yours to `allow_networks`";
        return Err(Error::forbidden(message));
    }
    let hosts = request.app_data::<web::Data<Hosts>>().ok_or_else(|| Error::internal(anyhow::anyhow!("no Hosts")))?;
    // A client in an allowed network was led here by another site, or `allowed_hosts` lacks a name: admins should see either.
    hosts.check(request).inspect_err(|error| note_refusal(request, None, error))
}

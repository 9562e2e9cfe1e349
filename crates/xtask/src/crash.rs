//! Kills the engine at random moments under load and counts what was lost and what was left.

use anyhow::{Result, ensure};
use testkit::campaign::{self, Campaign};
use testkit::daemon::{Daemon, Network};

use crate::{release, setup};

pub(crate) fn run(kills: u32) -> Result<()> {
    setup::run()?;
    let teu = release()?;
    let mut daemon = Daemon::with_busybox(&teu, Network::Host)?;
    let report = campaign::run(&mut daemon, &Campaign { kills, clients: 4, ..Campaign::default() })?;
    println!("{report}");
    ensure!(report.clean(), "the engine lost or left something");
    Ok(())
}

/// As [`run`], with clients that load, import, commit, remove and prune images.
pub(crate) fn images(kills: u32) -> Result<()> {
    setup::run()?;
    let teu = release()?;
    let mut daemon = Daemon::with_busybox(&teu, Network::Host)?;
    let report = testkit::image_campaign::run(&mut daemon, kills, 1)?;
    println!("{report}");
    ensure!(report.clean(), "the engine lost or left something");
    Ok(())
}

//! What an actor is asked.

use std::os::fd::OwnedFd;

use supervisor::protocol;
use tokio::sync::oneshot;

use crate::error::{ConnectError, ExecError, OperationError, RemoveError, StartError};
use crate::id::{ContainerName, ExecId};
use crate::spec::{EndpointSettings, Signal};
use crate::types::{ExecStartOptions, Update};
use crate::view::{Probe, Process, Stats};

/// Orders that wait in a mailbox; more wait outside.
pub(crate) const MAILBOX_MAX: usize = 64;

/// Who waits for an answer.
pub(crate) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// What an actor is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Start(Reply<(), StartError>),
    /// Up to the moment before the program runs.
    Prepare(Reply<(), StartError>),
    /// The rest of a start.
    Go {
        client: Option<(protocol::Attach, OwnedFd)>,
        reply: Reply<(), StartError>,
    },
    /// A prepared run that nobody wants any more.
    Abandon,
    Stop {
        signal: Option<Signal>,
        timeout: Option<i64>,
        restart: bool,
        reply: Reply<(), OperationError>,
    },
    Kill {
        signal: Signal,
        reply: Reply<(), OperationError>,
    },
    Pause(Reply<(), OperationError>),
    Unpause(Reply<(), OperationError>),
    Rename {
        name: ContainerName,
        reply: Reply<(), store::PutError>,
    },
    Update {
        update: Box<Update>,
        reply: Reply<(), OperationError>,
    },
    Remove {
        force: bool,
        volumes: bool,
        reply: Reply<(), RemoveError>,
    },
    Attach {
        attach: protocol::Attach,
        client: OwnedFd,
        reply: Reply<(), OperationError>,
    },
    Exec {
        id: ExecId,
        options: ExecStartOptions,
        reply: Reply<(), ExecError>,
    },
    Resize {
        exec: Option<ExecId>,
        height: u16,
        width: u16,
        reply: Reply<(), OperationError>,
    },
    /// Joins it with a network, now or at its next start.
    Connect {
        network: String,
        settings: Box<EndpointSettings>,
        reply: Reply<(), ConnectError>,
    },
    /// Takes it out of a network, now or at its next start.
    Disconnect {
        network: String,
        force: bool,
        reply: Reply<(), ConnectError>,
    },
    /// Hears all that has happened up to now, before the answer.
    Settle(Reply<(), OperationError>),
    Stats(Reply<Option<Stats>, OperationError>),
    Processes(Reply<Vec<Process>, OperationError>),
    ProbeDone {
        run: u64,
        probe: Probe,
    },
}

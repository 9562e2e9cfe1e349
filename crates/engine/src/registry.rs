//! All containers by id and name, and what each shows to others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::actor::Order;
use crate::error::LookupError;
use crate::id::{ContainerId, ContainerName, ExecId};
use crate::types::{WaitCondition, WaitHandle, Waited};
use crate::view::{Container, ExecView, Status};

/// Locks; a thread that panicked leaves nothing half-done in these.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a container shows to others: its last view, its mailbox, who waits, its execs.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) id: ContainerId,
    pub(crate) mailbox: mpsc::Sender<Order>,
    view: Mutex<Arc<Container>>,
    waiters: Mutex<Vec<(WaitCondition, oneshot::Sender<Waited>)>>,
    pub(crate) execs: Mutex<BTreeMap<ExecId, ExecView>>,
    /// Held while its layers are mounted by one who is not its supervisor, and while it starts.
    pub(crate) files: Arc<tokio::sync::Mutex<()>>,
}

impl Cell {
    pub(crate) fn new(view: Arc<Container>, mailbox: mpsc::Sender<Order>) -> Self {
        Self { id: view.id, mailbox, view: Mutex::new(view), waiters: Mutex::default(), execs: Mutex::default(), files: Arc::default() }
    }

    pub(crate) fn view(&self) -> Arc<Container> {
        lock(&self.view).clone()
    }

    pub(crate) fn publish(&self, view: Arc<Container>) {
        *lock(&self.view) = view;
    }

    /// Registers a wait, or answers at once.
    pub(crate) fn wait(&self, condition: WaitCondition) -> WaitHandle {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = lock(&self.waiters);
        // The view is read under the lock that `notify` takes after the view has changed: an exit
        // is either seen here or told there.
        let view = self.view();
        let over = condition == WaitCondition::NotRunning && !view.status.is_running() && view.status != Status::Restarting;
        if over {
            let exit_code = view.exit_code;
            // The receiver is ours and alive.
            let _ = sender.send(Waited { exit_code, error: None });
        } else {
            waiters.retain(|(_, sender)| !sender.is_closed());
            waiters.push((condition, sender));
        }
        WaitHandle(receiver)
    }

    /// Tells those who wait for an end, or for the removal.
    pub(crate) fn notify(&self, removed: bool, waited: &Waited) {
        let mut waiters = lock(&self.waiters);
        for (condition, sender) in std::mem::take(&mut *waiters) {
            if removed || condition != WaitCondition::Removed {
                // Who no longer waits needs no answer.
                let _ = sender.send(waited.clone());
            } else {
                waiters.push((condition, sender));
            }
        }
    }
}

/// All containers.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    cells: BTreeMap<ContainerId, Arc<Cell>>,
    names: HashMap<ContainerName, ContainerId>,
}

impl Registry {
    /// Takes a name for an id.
    ///
    /// # Errors
    /// Who has it.
    pub(crate) fn reserve(&self, name: &ContainerName, id: ContainerId) -> Result<(), ContainerId> {
        let mut tables = lock(&self.0);
        match tables.names.get(name) {
            Some(holder) => Err(*holder),
            None => {
                tables.names.insert(name.clone(), id);
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&self, name: &ContainerName) {
        lock(&self.0).names.remove(name);
    }

    pub(crate) fn insert(&self, cell: Arc<Cell>) {
        lock(&self.0).cells.insert(cell.id, cell);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, id: ContainerId, name: &ContainerName) {
        let mut tables = lock(&self.0);
        tables.cells.remove(&id);
        if tables.names.get(name) == Some(&id) {
            tables.names.remove(name);
        }
    }

    pub(crate) fn list(&self) -> Vec<Arc<Cell>> {
        lock(&self.0).cells.values().cloned().collect()
    }

    /// Finds a container by id, name or unique beginning of its id, in this order.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Cell>, LookupError> {
        let not_found = || LookupError::NotFound(reference.to_owned());
        let tables = lock(&self.0);
        if let Ok(id) = reference.parse::<ContainerId>()
            && let Some(cell) = tables.cells.get(&id)
        {
            return Ok(cell.clone());
        }
        if let Ok(name) = reference.parse::<ContainerName>()
            && let Some(id) = tables.names.get(&name)
        {
            return tables.cells.get(id).cloned().ok_or_else(not_found);
        }
        let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if reference.is_empty() || reference.len() > 64 || !reference.chars().all(digits) {
            return Err(not_found());
        }
        let first: ContainerId = format!("{reference:0<64}").parse().map_err(|_| not_found())?;
        let mut found = tables.cells.range(first..).map(|(_, cell)| cell);
        let mut matching = found.by_ref().take_while(|cell| cell.id.to_string().starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some(cell), None) => Ok(cell.clone()),
            (Some(_), Some(_)) => Err(LookupError::Ambiguous(reference.to_owned())),
            (None, _) => Err(not_found()),
        }
    }
}

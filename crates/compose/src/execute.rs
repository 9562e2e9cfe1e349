//! Carries out a plan: every step whose predecessors are done runs, all at the same time, through Docker's API.

mod act;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use docker_api::client::{Client, Error};

use crate::desired::Desired;
use crate::plan::{Action, Plan, Target};
use crate::watch::Watch;

/// At most so many steps run at once: an engine and a terminal have their bounds.
const WORKERS_MAX: usize = 48;

/// Who is told what happens.
pub trait Report: Sync {
    /// A step begins (`done` is false) or ends.
    fn step(&self, subject: &str, action: &Action, done: bool);
    /// A step failed.
    fn failed(&self, subject: &str, error: &StepError);
    /// Something a person should know.
    fn warn(&self, text: &str);
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine refused, or is gone.
    #[error("{0}")]
    Engine(#[from] Error),
    /// A dependency will not become ready.
    #[error("dependency failed to start: {0}")]
    Dependency(String),
    /// A dependency ended with another code than 0.
    #[error("service \"{service}\" didn't complete successfully: exit {code}")]
    NotCompleted {
        /// The service.
        service: String,
        /// How it ended.
        code: i64,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// What the engine said makes no sense, or the file asks for what is not there.
    #[error("{0}")]
    Unfit(String),
    /// A person stopped it.
    #[error("canceled")]
    Canceled,
}

/// How a plan is carried out.
#[derive(Debug)]
pub struct Executor<'a> {
    /// The engine.
    pub client: &'a Client,
    /// What shall be; `down` needs none.
    pub desired: &'a Desired,
    /// Seconds that a container gets to end, if not its own.
    pub timeout: Option<i64>,
    /// Set when a person has had enough; then nothing more begins.
    pub canceled: &'a AtomicBool,
    /// Ids of the containers that steps have made.
    made: Mutex<HashMap<usize, String>>,
    /// Made when a step needs it.
    watch: Mutex<Option<Watch>>,
}

impl<'a> Executor<'a> {
    /// For an engine and a project.
    #[must_use]
    pub fn new(client: &'a Client, desired: &'a Desired, canceled: &'a AtomicBool) -> Self {
        Self { client, desired, timeout: None, canceled, made: Mutex::default(), watch: Mutex::default() }
    }

    /// Carries the plan out. Steps that run when one fails are finished; none begins after it.
    ///
    /// # Errors
    /// The first failure; the others were reported.
    pub fn run(&self, plan: &Plan, report: &dyn Report) -> Result<(), StepError> {
        for warning in &plan.warnings {
            report.warn(warning);
        }
        if plan.steps.iter().any(|step| matches!(step.action, Action::Wait { .. })) {
            let watch = Watch::begin(self.client, &self.desired.name)?;
            *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        }
        let mut waits: Vec<usize> = plan.steps.iter().map(|step| step.after.len()).collect();
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); plan.steps.len()];
        for (number, step) in plan.steps.iter().enumerate() {
            for before in &step.after {
                if let Some(list) = next.get_mut(*before) {
                    list.push(number);
                }
            }
        }
        let mut ready: Vec<usize> = (0..plan.steps.len()).filter(|number| waits.get(*number) == Some(&0)).rev().collect();
        let (done, results) = mpsc::channel::<(usize, Client, Result<(), StepError>)>();
        let mut clients: Vec<Client> = Vec::new();
        let (mut running, mut failure) = (0usize, None);
        std::thread::scope(|scope| {
            loop {
                while failure.is_none() && running < WORKERS_MAX && !self.canceled.load(Ordering::Acquire) {
                    let Some(number) = ready.pop() else { break };
                    let client = clients.pop().unwrap_or_else(|| self.client.another());
                    let done: Sender<_> = done.clone();
                    running += 1;
                    scope.spawn(move || {
                        let mut client = client;
                        let result = self.step(plan, number, &mut client, report);
                        let _all_is_over = done.send((number, client, result));
                    });
                }
                if running == 0 {
                    break;
                }
                let Ok((number, client, result)) = results.recv() else { break };
                running -= 1;
                clients.push(client);
                match result {
                    Ok(()) => {
                        for other in next.get(number).into_iter().flatten() {
                            if let Some(count) = waits.get_mut(*other) {
                                *count -= 1;
                                if *count == 0 {
                                    ready.push(*other);
                                }
                            }
                        }
                    }
                    Err(error) => {
                        failure.get_or_insert(error);
                        // Those that wait for events have nothing to wait for.
                        self.wake();
                    }
                }
                if failure.is_some() {
                    self.stop_waiting();
                }
            }
        });
        match failure {
            Some(error) => Err(error),
            None if self.canceled.load(Ordering::Acquire) => Err(StepError::Canceled),
            None => Ok(()),
        }
    }

    /// Wakes what waits, so that it sees that a person has had enough.
    pub fn wake(&self) {
        if let Some(watch) = self.watch.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            watch.wake();
        }
    }

    fn stop_waiting(&self) {
        self.canceled.store(true, Ordering::Release);
        self.wake();
    }

    fn step(&self, plan: &Plan, number: usize, client: &mut Client, report: &dyn Report) -> Result<(), StepError> {
        let Some(step) = plan.steps.get(number) else { return Ok(()) };
        report.step(&step.subject, &step.action, false);
        let result = self.act(number, &step.action, client, report);
        match &result {
            Ok(()) => report.step(&step.subject, &step.action, true),
            Err(StepError::Canceled) => {}
            Err(error) => report.failed(&step.subject, error),
        }
        result
    }

    /// The id of a container that exists or that a step has made.
    fn id(&self, target: &Target) -> String {
        match target {
            Target::Existing(id) => id.clone(),
            Target::Made(step) => self.made.lock().unwrap_or_else(PoisonError::into_inner).get(step).cloned().unwrap_or_default(),
        }
    }
}

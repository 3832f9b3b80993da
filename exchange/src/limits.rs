//! Accounts that may not go below 0: the file of accounts names them, and the ledger holds them to it.
//!
//! Invariant: no order of such an account is taken here before the ledger has said that the account is limited, which it then is
//! for good. An order that it places through another exchange is not this one's concern.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_client::{ReadOptions, Session, SubmitError};
use quorate_domain::{Account, ActorName};
use quorate_ledger::{Command, ControlChange, ControlCommand, Outcome, Refusal};
use tokio::time::{Instant, sleep};

use crate::{accounts::Accounts, desk::Desk, lock::locked};

/// Pause before the accounts that are not limited yet are looked at again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one command is tried.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Why, as the ledger keeps it.
const REASON: &str = "the exchange's file of accounts says so";

/// The accounts whose orders are not taken yet.
#[derive(Debug, Default)]
pub struct Limits(Mutex<BTreeSet<Account>>);

/// What came of an attempt.
enum Attempt {
    /// The ledger holds the account to it.
    Limited,
    /// Something was decided meanwhile: decide again.
    Moved,
    /// Not now.
    Failed(String),
}

impl Limits {
    /// All that are to be limited.
    #[must_use]
    pub fn new(accounts: Option<&Accounts>) -> Self {
        Self(Mutex::new(accounts.map(|accounts| accounts.limited().clone()).unwrap_or_default()))
    }

    /// Whether no order of an account may be taken yet.
    #[must_use]
    pub fn is_due(&self, account: &Account) -> bool {
        locked(&self.0).contains(account)
    }

    fn due(&self) -> Vec<Account> {
        locked(&self.0).iter().cloned().collect()
    }

    fn done(&self, account: &Account) {
        locked(&self.0).remove(account);
    }
}

/// Limits the accounts that are due, once this exchange is registered. Never returns.
pub async fn limit(desk: Arc<Desk>) {
    let session = desk.client.session();
    while !desk.limits.due().is_empty() {
        if desk.look(|_, _| ()).is_some() {
            for account in desk.limits.due() {
                limit_one(&desk, &session, &account).await;
            }
        }
        sleep(PAUSE).await;
    }
    std::future::pending().await
}

async fn limit_one(desk: &Desk, session: &Session, account: &Account) {
    loop {
        match attempt(desk, session, account).await {
            Attempt::Limited => {
                tracing::info!(%account, "the ledger holds the account to what it has");
                return desk.limits.done(account);
            }
            Attempt::Moved => {}
            Attempt::Failed(why) => {
                return tracing::warn!(%account, why, "not limited yet: its orders are not taken");
            }
        }
    }
}

async fn attempt(desk: &Desk, session: &Session, account: &Account) -> Attempt {
    let options = ReadOptions::linearizable();
    // Before the balances: whatever is decided after this is noticed.
    let control_version = match desk.client.status(&options).await {
        Ok(status) => status.data.control.control_version,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    match desk.client.balances(Some(account), None, &options).await {
        Ok(read) if read.data.accounts.iter().any(|row| row.account == *account && row.limited) => {
            return Attempt::Limited;
        }
        Ok(_) => {}
        Err(error) => return Attempt::Failed(error.to_string()),
    }
    let actor = match ActorName::new(desk.config.name.as_str()) {
        Ok(actor) => actor,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    let change = ControlChange::LimitAccount { account: account.clone() };
    let command = Command::Control(ControlCommand { actor, reason: REASON.to_owned(), control_version, change });
    match session.submit(&command, Instant::now() + ATTEMPT).await {
        Ok(response) => match response.outcome {
            Outcome::Accepted(_) => Attempt::Limited,
            Outcome::Refused(Refusal::ControlVersion { .. }) => Attempt::Moved,
            Outcome::Refused(refusal) => Attempt::Failed(refusal.to_string()),
        },
        // Where it was applied all the same, the balances say so.
        Err(SubmitError::NotApplied(problem) | SubmitError::Unknown { problem, .. }) => {
            Attempt::Failed(problem.to_string())
        }
    }
}

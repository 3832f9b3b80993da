//! How much of something each account holds. Invariant: an account that holds nothing takes no memory.

use std::collections::BTreeMap;

use quorate_domain::Account;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<Account, usize>);

impl Held {
    pub(crate) fn by(&self, account: &Account) -> usize {
        self.0.get(account).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, account: &Account) {
        *self.0.entry(account.clone()).or_default() += 1;
    }

    pub(crate) fn take(&mut self, account: &Account) {
        if let Some(held) = self.0.get_mut(account) {
            *held -= 1;
            if *held == 0 {
                self.0.remove(account);
            }
        }
    }
}

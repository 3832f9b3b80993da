//! Orders that were refused, so that a late copy of a request cannot do what its sender was told was not done.
//!
//! A proxy or a network may deliver one request twice. Where the order was taken, the ledger knows its name, and the
//! second copy is a repeat. Where it was refused, nothing in the ledger tells the copy from a new order: what refused the
//! first (the kill switch, a price, the clock) may have passed meanwhile. So a refused request is remembered here for as long as its
//! `recvWindow` lets a copy count. A request without a `timestamp` is new each time that it comes.
//!
//! Invariants: the copies of one request are handled one after the other; what is remembered is bounded, and each account has
//! places of its own, so that nobody's requests are forgotten for another's; a request of which a refusal may have been forgotten
//! is refused for its timestamp. An exchange that starts remembers nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use quorate_binance_api::ApiError;
use quorate_domain::Account;

use crate::lock::locked;

/// Requests of one account remembered at most, those under way included.
const ACCOUNT_MAX: usize = 2_048;
/// Requests of all accounts, likewise: beyond it a request of an account that has none remembered is not taken now.
const ALL_MAX: usize = 131_072;

/// A digest of all parameters of a request.
pub type RequestDigest = [u8; 32];

/// A request with a timestamp, to place an order.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// Who sent it.
    pub account: Account,
    /// Which request it is.
    pub digest: RequestDigest,
    /// Its `timestamp`, in microseconds since the Unix epoch.
    pub timestamp_us: u64,
    /// Until when a copy of it counts, likewise.
    pub until_us: u64,
}

/// What a request was refused with. Held while the request is under way.
type Slot = Arc<tokio::sync::Mutex<Option<ApiError>>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    accounts: BTreeMap<Account, Own>,
    /// All requests, by when they end.
    by_end: BTreeSet<(u64, Account, RequestDigest)>,
    /// What accounts have forgotten before its time, by when that ends.
    floors: BTreeSet<(u64, Account)>,
}

/// What is remembered of one account's requests.
#[derive(Debug, Default)]
struct Own {
    slots: BTreeMap<RequestDigest, (Stamped, Slot)>,
    by_end: BTreeSet<(u64, RequestDigest)>,
    floor: Floor,
}

/// Of a request with the timestamp `at_us` or an earlier one a refusal may have been forgotten, until `until_us`.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    at_us: u64,
    until_us: u64,
}

impl Refusals {
    /// Places the order of a request, unless a copy of the request was refused before: then it is refused in the same
    /// words. `now_us` is the time by which windows are checked, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// Those of `place`, now or for an earlier copy; -1021 where an earlier refusal may have been forgotten; -1008 where there
    /// is no place for another account.
    pub async fn once<T>(
        &self,
        request: Stamped,
        now_us: u64,
        place: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let slot = locked(&self.0).slot(&request, now_us)?;
        let mut refused = slot.lock().await;
        if let Some(error) = &*refused {
            return Err(error.clone());
        }
        let result = place.await;
        *refused = result.as_ref().err().filter(|error| error.is_final()).cloned();
        if refused.is_none() {
            drop(refused);
            locked(&self.0).leave(&request, &slot);
        }
        result
    }
}

impl Remembered {
    fn slot(&mut self, request: &Stamped, now_us: u64) -> Result<Slot, ApiError> {
        self.let_go(now_us);
        let Stamped { account, digest, timestamp_us, until_us } = request;
        let full = self.by_end.len() >= ALL_MAX;
        if let Some(own) = self.accounts.get(account) {
            if let Some((_, slot)) = own.slots.get(digest) {
                return Ok(Arc::clone(slot));
            }
            if own.floor.until_us >= now_us && *timestamp_us <= own.floor.at_us {
                return Err(ApiError::timestamp(false));
            }
            if full || own.slots.len() >= ACCOUNT_MAX {
                self.forget_first_of(account);
            }
        }
        if self.by_end.len() >= ALL_MAX {
            return Err(ApiError::overloaded());
        }
        let slot = Slot::default();
        let own = self.accounts.entry(account.clone()).or_default();
        own.slots.insert(*digest, (request.clone(), Arc::clone(&slot)));
        own.by_end.insert((*until_us, *digest));
        self.by_end.insert((*until_us, account.clone(), *digest));
        Ok(slot)
    }

    /// Lets go of what has ended.
    fn let_go(&mut self, now_us: u64) {
        while let Some((_, account, digest)) = self.by_end.first().filter(|(until, ..)| *until < now_us).cloned() {
            self.forget(&account, &digest);
        }
        while let Some(ended) = self.floors.pop_first() {
            if ended.0 >= now_us {
                self.floors.insert(ended);
                return;
            }
            if let Some(own) = self.accounts.get_mut(&ended.1) {
                own.floor = Floor::default();
                self.drop_if_empty(&ended.1);
            }
        }
    }

    /// Forgets, before its time, the request of an account that ends first.
    fn forget_first_of(&mut self, account: &Account) {
        let Some(own) = self.accounts.get_mut(account) else { return };
        let first = own.by_end.first().and_then(|(_, digest)| own.slots.get(digest));
        let Some((first, _)) = first.map(|(first, slot)| (first.clone(), Arc::clone(slot))) else { return };
        let before = own.floor;
        own.floor =
            Floor { at_us: before.at_us.max(first.timestamp_us), until_us: before.until_us.max(first.until_us) };
        self.floors.remove(&(before.until_us, account.clone()));
        self.floors.insert((own.floor.until_us, account.clone()));
        self.forget(account, &first.digest);
    }

    fn forget(&mut self, account: &Account, digest: &RequestDigest) {
        let Some(own) = self.accounts.get_mut(account) else { return };
        if let Some((gone, _)) = own.slots.remove(digest) {
            own.by_end.remove(&(gone.until_us, *digest));
            self.by_end.remove(&(gone.until_us, gone.account, *digest));
        }
        self.drop_if_empty(account);
    }

    fn drop_if_empty(&mut self, account: &Account) {
        let empty = |own: &Own| own.slots.is_empty() && own.floor.until_us == 0;
        if self.accounts.get(account).is_some_and(empty) {
            self.accounts.remove(account);
        }
    }

    /// A request that was not refused needs no place, once no copy of it is under way.
    fn leave(&mut self, request: &Stamped, slot: &Slot) {
        let kept = self.accounts.get(&request.account).and_then(|own| own.slots.get(&request.digest));
        // One of the two is held here, the other by the caller.
        if kept.is_some_and(|(_, kept)| Arc::ptr_eq(kept, slot)) && Arc::strong_count(slot) == 2 {
            self.forget(&request.account, &request.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: u64, timestamp_us: u64) -> Stamped {
        request_of("a", name, timestamp_us)
    }

    fn request_of(account: &str, name: u64, timestamp_us: u64) -> Stamped {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&name.to_be_bytes());
        let account = Account::new(account).expect("a name");
        Stamped { account, digest, timestamp_us, until_us: timestamp_us + 5_000 }
    }

    fn count(refusals: &Refusals) -> (usize, usize) {
        let remembered = locked(&refusals.0);
        let slots = remembered.accounts.values().map(|own| own.slots.len()).sum();
        assert_eq!(remembered.by_end.len(), slots);
        (remembered.accounts.len(), slots)
    }

    async fn place(refusals: &Refusals, of: Stamped, now_us: u64, result: Result<u8, ApiError>) -> Result<u8, i32> {
        refusals.once(of, now_us, async { result }).await.map_err(|error| error.code)
    }

    #[tokio::test]
    async fn a_copy_of_a_refused_request_is_refused_until_its_window_closes() {
        let refusals = Refusals::default();
        let closed = Err(ApiError::new(-1013, "Market is closed."));
        assert_eq!(place(&refusals, request(1, 1_000), 1_000, closed).await, Err(-1013));
        assert_eq!(place(&refusals, request(1, 1_000), 6_000, Ok(1)).await, Err(-1013));
        assert_eq!(place(&refusals, request(2, 1_000), 6_000, Ok(2)).await, Ok(2));
        assert_eq!(count(&refusals), (1, 1));
        // From here on its timestamp refuses it, before it comes here.
        assert_eq!(place(&refusals, request(3, 6_001), 6_001, Ok(3)).await, Ok(3));
        assert_eq!(count(&refusals), (0, 0));
    }

    #[tokio::test]
    async fn what_is_not_final_is_not_remembered() {
        let refusals = Refusals::default();
        for error in [ApiError::overloaded(), ApiError::unknown(), ApiError::disconnected("not now")] {
            let code = error.code;
            assert_eq!(place(&refusals, request(1, 1_000), 1_000, Err(error)).await, Err(code));
            assert_eq!(place(&refusals, request(1, 1_000), 1_001, Ok(1)).await, Ok(1));
        }
    }

    #[tokio::test]
    async fn copies_of_one_request_are_handled_one_after_the_other() {
        let refusals = Refusals::default();
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let first = refusals.once(request(1, 1_000), 1_000, async {
            let _ = answered.await;
            Err::<u8, _>(ApiError::rejected("no"))
        });
        let copy = refusals.once(request(1, 1_000), 1_001, async { Ok(1) });
        let end = async { answer.send(()) };
        let (first, copy, _) = tokio::join!(first, copy, end);
        assert_eq!((first, copy), (Err(ApiError::rejected("no")), Err(ApiError::rejected("no"))));
    }

    #[tokio::test]
    async fn where_an_account_has_no_place_its_requests_as_old_as_a_forgotten_one_are_refused() {
        let refusals = Refusals::default();
        let no = || Err(ApiError::rejected("no"));
        assert_eq!(place(&refusals, request_of("b", 0, 1_000), 1_000, no()).await, Err(-2010));
        for name in 0..=ACCOUNT_MAX as u64 {
            assert_eq!(place(&refusals, request(name, 1_000 + name), 1_000, no()).await, Err(-2010));
        }
        assert_eq!(count(&refusals), (2, ACCOUNT_MAX + 1));
        assert_eq!(place(&refusals, request(0, 1_000), 1_000, Ok(1)).await, Err(-1021));
        assert_eq!(place(&refusals, request(1, 1_001), 1_000, Ok(1)).await, Err(-2010));
        // The other account's are remembered, and it may send what is older.
        assert_eq!(place(&refusals, request_of("b", 0, 1_000), 1_000, Ok(1)).await, Err(-2010));
        assert_eq!(place(&refusals, request_of("b", 1, 900), 1_000, Ok(1)).await, Ok(1));
        // Once no copy of what was forgotten counts, nothing is left of it.
        assert_eq!(place(&refusals, request(7_777, 1_000), 6_001, Ok(1)).await, Ok(1));
        assert_eq!(place(&refusals, request(7_777, 9_999), 60_000, Ok(1)).await, Ok(1));
        assert_eq!((count(&refusals), locked(&refusals.0).floors.len()), ((0, 0), 0));
    }

    #[tokio::test]
    async fn where_all_places_are_taken_nobody_loses_one() {
        let refusals = Refusals::default();
        let no = || Err(ApiError::rejected("no"));
        for account in 0..ALL_MAX / ACCOUNT_MAX {
            for name in 0..ACCOUNT_MAX as u64 {
                let of = request_of(&format!("a{account}"), name, 1_000);
                assert_eq!(place(&refusals, of, 1_000, no()).await, Err(-2010));
            }
        }
        assert_eq!(place(&refusals, request_of("new", 0, 1_000), 1_000, Ok(1)).await, Err(-1008));
        assert_eq!(place(&refusals, request_of("a0", 0, 1_000), 1_000, Ok(1)).await, Err(-2010));
        assert_eq!(place(&refusals, request_of("a0", 9_999, 1_001), 1_000, no()).await, Err(-2010));
        assert_eq!(place(&refusals, request_of("a1", 0, 1_000), 1_000, Ok(1)).await, Err(-2010));
        assert_eq!(count(&refusals).1, ALL_MAX);
    }
}

//! Orders that were refused, so that a late copy of a request cannot do what its sender was told was not done.
//!
//! A proxy or a network may deliver one request twice. Where the order was taken, the ledger knows its name, and the
//! second copy is a repeat. Where it was refused, nothing in the ledger tells the copy from a new order: what refused the
//! first (the kill switch, a price, the clock) may have passed meanwhile. So a refused request is remembered here for as long as its
//! `recvWindow` lets a copy count. A request without a `timestamp` is new each time that it comes.
//!
//! Invariants: the copies of one request are handled one after the other; what is remembered is bounded, and a request that
//! may have been forgotten is refused for its timestamp. An exchange that starts remembers nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use quorate_binance_api::ApiError;
use quorate_domain::Account;

use crate::lock::locked;

/// Requests remembered at most, those under way included.
const REMEMBERED_MAX: usize = 32_768;

/// One request: who sent it and a digest of all its parameters.
pub type Key = (Account, [u8; 32]);

/// A request with a timestamp, to place an order.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// Which request it is.
    pub key: Key,
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
    slots: BTreeMap<Key, Slot>,
    by_end: BTreeSet<(u64, u64, Key)>,
    /// Of a request with this timestamp or an earlier one, a refusal may have been forgotten.
    floor_us: u64,
}

impl Refusals {
    /// Places the order of a request, unless a copy of the request was refused before: then it is refused in the same
    /// words. `now_us` is the time by which windows are checked, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// Those of `place`, now or for an earlier copy; -1021 where an earlier refusal may have been forgotten.
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
            locked(&self.0).leave(request, &slot);
        }
        result
    }
}

impl Remembered {
    fn slot(&mut self, request: &Stamped, now_us: u64) -> Result<Slot, ApiError> {
        while let Some(ended) = self.by_end.first().filter(|(until, ..)| *until < now_us).cloned() {
            self.forget(&ended);
        }
        if let Some(slot) = self.slots.get(&request.key) {
            return Ok(Arc::clone(slot));
        }
        if request.timestamp_us <= self.floor_us {
            return Err(ApiError::timestamp(false));
        }
        if self.slots.len() >= REMEMBERED_MAX
            && let Some(first) = self.by_end.first().cloned()
        {
            self.floor_us = self.floor_us.max(first.1);
            self.forget(&first);
        }
        let slot = Slot::default();
        self.slots.insert(request.key.clone(), Arc::clone(&slot));
        self.by_end.insert((request.until_us, request.timestamp_us, request.key.clone()));
        Ok(slot)
    }

    fn forget(&mut self, entry: &(u64, u64, Key)) {
        self.by_end.remove(entry);
        self.slots.remove(&entry.2);
    }

    /// A request that was not refused needs no place, once no copy of it is under way.
    fn leave(&mut self, request: Stamped, slot: &Slot) {
        let kept = self.slots.get(&request.key).is_some_and(|kept| Arc::ptr_eq(kept, slot));
        // One of the two is held here, the other by the caller.
        if kept && Arc::strong_count(slot) == 2 {
            self.forget(&(request.until_us, request.timestamp_us, request.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: u64, timestamp_us: u64) -> Stamped {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&name.to_be_bytes());
        let account = Account::new("a").expect("a name");
        Stamped { key: (account, digest), timestamp_us, until_us: timestamp_us + 5_000 }
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
        assert_eq!(locked(&refusals.0).slots.len(), 1);
        // From here on its timestamp refuses it, before it comes here.
        assert_eq!(place(&refusals, request(3, 6_001), 6_001, Ok(3)).await, Ok(3));
        assert!(locked(&refusals.0).slots.is_empty() && locked(&refusals.0).by_end.is_empty());
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
    async fn where_there_is_no_place_a_request_as_old_as_a_forgotten_one_is_refused() {
        let refusals = Refusals::default();
        for name in 0..=REMEMBERED_MAX as u64 {
            let of = request(name, 1_000 + name);
            assert_eq!(place(&refusals, of, 1_000, Err(ApiError::rejected("no"))).await, Err(-2010));
        }
        assert_eq!(locked(&refusals.0).slots.len(), REMEMBERED_MAX);
        assert_eq!(place(&refusals, request(0, 1_000), 1_000, Ok(1)).await, Err(-1021));
        assert_eq!(place(&refusals, request(1, 1_001), 1_000, Ok(1)).await, Err(-2010));
    }
}

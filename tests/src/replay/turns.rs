//! Whose turn it is, as the events say. Who waits is offered a lot in the order of tickets, a turn lasts as long as it must, and
//! its quote ends where others wait.
//!
//! The events do not say which sides a refused quote asked for. So a lot is taken to be asked for on both sides wherever that
//! speaks against a finding.

use quorate_domain::Symbol;
use quorate_ledger::{Event, Frame, Turn};

use super::{
    Book, Replay,
    rules::{DEMAND_MEMORY_MS, OFFER_MS, SWEEP_MAX, TURN_MS},
};

/// One value for each side: long, short.
type Sides = [i64; 2];

impl Book {
    fn reserved(&self) -> Sides {
        let lots = self.quote.as_ref().map_or([0, 0], |quote| [quote.bid.1, quote.ask.1]);
        lots.map(|lots| lots * self.per_lot)
    }

    /// What a lot adds to what is reserved.
    fn lot_adds(&self) -> Sides {
        self.reserved().map(|reserved| (self.per_lot - reserved).max(0))
    }

    /// Reserved, or its turn's, where that is more.
    fn taken(&self) -> Sides {
        let adds = if self.has_turn() { self.lot_adds() } else { [0, 0] };
        plus(self.reserved(), adds)
    }

    fn has_turn(&self) -> bool {
        matches!(self.turn, Some(Turn::Offered { .. } | Turn::Running { .. }))
    }

    /// Waits, or has not taken its offer yet.
    fn is_due(&self) -> bool {
        matches!(self.turn, Some(Turn::Waiting { .. } | Turn::Offered { .. }))
    }

    fn ticket(&self) -> Option<u64> {
        if let Some(Turn::Waiting { since }) = self.turn { Some(since) } else { None }
    }
}

fn plus(one: Sides, other: Sides) -> Sides {
    [one[0] + other[0], one[1] + other[1]]
}

impl Replay {
    pub(super) fn turn_changed(&mut self, frame: &Frame, symbol: &Symbol, next: Option<Turn>) {
        let others_wait = self.others_wait(symbol);
        let others_may_wait = others_wait || self.others_fell_short(symbol, frame.log_time.0);
        let limit = self.found.limit;
        let book = self.books.entry(symbol.clone()).or_default();
        let before = book.turn;
        let sound = follows(frame, book, next, others_may_wait) && (next.is_none() || book.holder.is_some());
        let ended = matches!(before, Some(Turn::Running { until }) if until.0 <= frame.log_time.0) && next.is_none();
        if !sound {
            self.wrong(frame, &format!("{symbol}: a turn goes from {before:?} to {next:?}"));
        }
        if ended
            && others_wait
            && !self.control.worst_loss
            && self.stands_above_its_share(symbol, limit, frame.log_time.0)
        {
            self.wrong(frame, &format!("{symbol}: its turn ended, others wait, and its quote stands"));
        }
        if let (Some(Turn::Waiting { since }), Some(Turn::Offered { .. }), false) =
            (before, next, self.control.worst_loss)
        {
            self.in_order(frame, symbol, since);
        }
        self.count_turn(frame, symbol, before, next);
        self.books.entry(symbol.clone()).or_default().turn = next;
    }

    fn count_turn(&mut self, frame: &Frame, symbol: &Symbol, before: Option<Turn>, next: Option<Turn>) {
        let time = frame.log_time.0;
        let book = self.books.entry(symbol.clone()).or_default();
        match next {
            Some(Turn::Running { .. }) => {
                let waited = book.waits_since.take().map_or(0, |since| time.saturating_sub(since));
                self.found.turns += 1;
                self.found.waited_ms_max = self.found.waited_ms_max.max(waited);
            }
            Some(Turn::Waiting { .. }) if !matches!(before, Some(Turn::Offered { .. })) => {
                book.waits_since = Some(time)
            }
            Some(Turn::Waiting { .. } | Turn::Offered { .. }) => {}
            None => book.waits_since = None,
        }
    }

    fn others_wait(&self, symbol: &Symbol) -> bool {
        self.books.iter().any(|(other, book)| other != symbol && book.is_due())
    }

    /// Whether the demand of another symbol may be remembered, which counts as waiting too.
    fn others_fell_short(&self, symbol: &Symbol, time: u64) -> bool {
        let remembered = |book: &Book| book.fell_short.is_some_and(|at| time < at + DEMAND_MEMORY_MS);
        self.books.iter().any(|(other, book)| other != symbol && remembered(book))
    }

    /// Whether the quote of `symbol` has a lot on a side where a share, as large as it can be, is less.
    fn stands_above_its_share(&self, symbol: &Symbol, limit: i128, time: u64) -> bool {
        let Some(book) = self.books.get(symbol) else { return false };
        let alive = |book: &&Book| book.quote.as_ref().is_some_and(|quote| quote.deadline > time);
        let quoted = |side: usize| self.books.values().filter(alive).filter(|book| book.reserved()[side] > 0).count();
        let quoted = [quoted(0), quoted(1)];
        let without = self.books.values().filter(|book| book.turn.is_some() && !alive(book)).count();
        // Whoever is in the turns without a quote demands one side at least: so many demand one of both.
        let one_of_both = (quoted[0] + quoted[1] + without).div_ceil(2);
        let asks = book.reserved().map(|reserved| reserved > 0 && alive(&book));
        let above =
            |demanding: usize| i128::from(book.per_lot) > limit / i128::try_from(demanding.max(1)).unwrap_or(i128::MAX);
        (asks == [true, true] && above(one_of_both)) || (0..2).any(|side| asks[side] && above(quoted[side]))
    }

    /// Nobody with an earlier ticket is passed over, whose lot there is room for.
    fn in_order(&mut self, frame: &Frame, offered: &Symbol, ticket: u64) {
        let limit = self.found.limit;
        let mut earlier: Vec<(u64, &Symbol, &Book)> = self
            .books
            .iter()
            .filter_map(|(symbol, book)| Some((book.ticket()?, symbol, book)))
            .filter(|(since, symbol, _)| (*since, *symbol) < (ticket, offered))
            .collect();
        earlier.sort_by_key(|(since, symbol, _)| (*since, *symbol));
        let mut taken = self.books.values().fold([0, 0], |sum, book| plus(sum, book.taken()));
        let mut passed_over = None;
        for (_, symbol, book) in earlier {
            taken = plus(taken, book.lot_adds());
            if taken.iter().all(|taken| i128::from(*taken) <= limit) {
                passed_over = Some(symbol.clone());
                break;
            }
        }
        if let Some(symbol) = passed_over {
            self.wrong(frame, &format!("{offered} is offered a turn, and {symbol} waits longer and would fit"));
        }
    }

    /// After a frame: no turn is past its end, none is too heavy, and who is first is offered its lot where nobody has a turn.
    pub(super) fn turns_are_served(&mut self, frame: &Frame) {
        // Lots are counted in units here: where exposure is the worst loss, the order of turns is not judged.
        if self.control.worst_loss {
            return;
        }
        let (time, limit) = (frame.log_time.0, self.found.limit);
        let mut wrong = Vec::new();
        for (symbol, book) in &self.books {
            let Some(turn) = book.turn else { continue };
            let past = matches!(turn, Turn::Offered { until } | Turn::Running { until } if until.0 <= time);
            if past && frame.events.len() < SWEEP_MAX {
                wrong.push(format!("{symbol}: {turn:?} is over"));
            }
            if i128::from(book.per_lot) > limit {
                wrong.push(format!("{symbol}: {turn:?}, and a lot is above the limit of {limit}"));
            }
        }
        let waiting = self.books.iter().filter_map(|(symbol, book)| Some((book.ticket()?, symbol, book)));
        if let Some((_, symbol, first)) = waiting.min_by_key(|(since, symbol, _)| (*since, *symbol))
            && !self.books.values().any(Book::has_turn)
        {
            let taken = self.books.values().fold(first.lot_adds(), |sum, book| plus(sum, book.reserved()));
            if taken.iter().all(|taken| i128::from(*taken) <= limit) {
                wrong.push(format!("{symbol}: it is the first that waits, would fit, and is offered nothing"));
            }
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }
}

/// Whether one place in the turns may follow the one before it.
fn follows(frame: &Frame, book: &Book, next: Option<Turn>, others_may_wait: bool) -> bool {
    let time = frame.log_time.0;
    let back = |since: u64| since == frame.index;
    match (book.turn, next) {
        (None, Some(Turn::Waiting { since })) => back(since),
        (Some(Turn::Waiting { .. }), Some(Turn::Offered { until })) => until.0 == time + OFFER_MS,
        (Some(Turn::Offered { .. }), Some(Turn::Offered { until })) => {
            let term_begins = frame.events.iter().any(|event| matches!(event, Event::TermBegan { .. }));
            until.0 == time + OFFER_MS && term_begins
        }
        (Some(Turn::Offered { .. }), Some(Turn::Running { until })) => {
            let placed = book.quote.as_ref().is_some_and(|quote| quote.id == frame.index);
            until.0 == time + TURN_MS && placed
        }
        (Some(Turn::Offered { until }), Some(Turn::Waiting { since })) => back(since) && until.0 <= time,
        (Some(Turn::Running { until }), Some(Turn::Waiting { since })) => {
            back(since) && until.0 <= time && others_may_wait && book.quote.is_none()
        }
        (Some(_), None) => true,
        (None | Some(Turn::Running { .. }), _) | (Some(Turn::Waiting { .. }), Some(_)) => false,
    }
}

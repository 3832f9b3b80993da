//! Accounts, what they lock, fees, and profit by average cost.

use super::{Rig, control, instrument, money, side, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

const PAYS: i64 = 200;

fn asset(name: &str) -> Asset {
    name.parse().unwrap()
}

fn account(name: &str) -> Account {
    name.parse().unwrap()
}

/// Lots of the base asset.
fn lots(count: i128) -> Money {
    Money(count * instrument(1).lot_units())
}

fn contract() -> Instrument {
    let kind = Kind::Binary { pays: Price(PAYS) };
    Instrument { base: asset("RAIN"), kind, max_price: Price(PAYS - 1), ..instrument(1) }
}

/// With a symbol of these terms that is quoted with 20 lots at 99 and 101, and an exchange.
fn rig(instrument: Instrument) -> Rig {
    let mut rig = Rig::new();
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument }));
    rig.join("m1");
    rig.register_exchange();
    rig.place("AAA", 20);
    rig
}

impl Rig {
    fn version(&self) -> u64 {
        self.ledger.control().version
    }

    fn try_to(&mut self, change: ControlChange) -> Refusal {
        let command = control(change, self.version());
        self.refused(command)
    }

    fn fund(&mut self, name: &str, of: &str, amount: Money) {
        self.decide(ControlChange::Deposit { account: account(name), asset: asset(of), amount });
    }

    /// Limits an account that has so much of the quote asset, in ticks x lots.
    fn limited(&mut self, name: &str, quote: i128) {
        self.decide(ControlChange::LimitAccount { account: account(name) });
        self.fund(name, "QUOTE", money(quote));
    }

    fn balance(&self, name: &str, of: &str) -> (Money, Money) {
        let found = self.ledger.accounts().find(|(known, _)| known.as_str() == name);
        let balance = found.map(|(_, state)| state.balance(&asset(of))).unwrap_or_default();
        (balance.total, balance.locked)
    }

    /// The same order of another account.
    fn order_of(&self, name: &str, id: &str, side: Side, price: i64, qty: i64) -> ExecuteOrder {
        let mut order = self.order("AAA", id, side, price, qty);
        order.order.account = account(name);
        order
    }

    fn taking_of(&self, name: &str, id: &str, side: Side, qty: i64) -> ExecuteOrder {
        let mut order = self.taking("AAA", id, side, qty);
        order.order.account = account(name);
        order
    }

    fn cancel(&mut self, name: &str, order_id: OrderId) {
        let exchange_epoch = self.ledger.exchange().unwrap().epoch;
        self.ok(Command::CancelOrder(CancelOrder { exchange_epoch, account: account(name), order_id }));
    }

    fn short_of(&mut self, order: ExecuteOrder) -> (Asset, Money, Money) {
        match self.refused(Command::ExecuteOrder(order)) {
            Refusal::BalanceShort { asset, free, needed } => (asset, free, needed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_account_has_a_record_while_it_is_limited_has_an_open_order_or_has_anything() {
    let mut rig = rig(instrument(1));
    let known = |rig: &Rig| -> Vec<(String, bool)> {
        rig.ledger.accounts().map(|(name, state)| (name.to_string(), state.limited)).collect()
    };
    let expected = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        names.iter().map(|(name, limited)| ((*name).to_owned(), *limited)).collect()
    };
    let resting = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    rig.fund("bob", "QUOTE", Money(5));
    rig.fund("dan", "QUOTE", Money(0));
    rig.decide(ControlChange::LimitAccount { account: account("carol") });
    assert_eq!(known(&rig), expected(&[("alice", false), ("bob", false), ("carol", true)]));
    rig.cancel("alice", resting);
    rig.fund("bob", "QUOTE", Money(-5));
    assert_eq!(known(&rig), expected(&[("carol", true)]));
    // What it bought and sold again leaves it nothing but what it lost.
    rig.take("AAA", "o2", Side::Buy, 2);
    rig.place("AAA", 20);
    rig.take("AAA", "o3", Side::Sell, 2);
    let alice = rig.ledger.accounts().next().unwrap().1;
    assert_eq!(alice.balances.keys().map(Asset::as_str).collect::<Vec<_>>(), ["QUOTE"]);
    assert_eq!(alice.balance(&asset("QUOTE")).total, money(-4));
}

#[test]
fn a_position_is_worth_no_more_than_may_be_summed_up() {
    // A lot is worth 10^15 of the quote asset at a price of one tick, and 99 x 10 lots are within the notional.
    let huge =
        Instrument { tick_size: "1000000000000".parse().unwrap(), lot_size: "1".parse().unwrap(), ..instrument(1) };
    let mut rig = rig(Instrument { exposure_per_lot: 1, ..huge });
    let value = |lots: i128| POSITION_VALUE_MAX - 99 * lots * 1_000_000_000_000_000_000_000_000;
    assert!(value(10) > 0);
    rig.take("AAA", "o1", Side::Sell, 5);
    let state = rig.ledger.tables.symbols.get_mut(&symbol("AAA")).unwrap();
    // As after many fills: one more at 99 brings it to the bound, two do not fit.
    let most = i64::try_from(POSITION_VALUE_MAX / (99 * state.instrument.tick_lot_units().unwrap())).unwrap();
    (state.bought, state.pnl.position) = (Qty(most - 1), Position(most - 1));
    let lot_units = state.instrument.lot_units();
    let alice = rig.ledger.tables.accounts.get_mut(&account("alice")).unwrap();
    alice.balances.get_mut(&asset("BASE")).unwrap().total = Money(-i128::from(most - 1) * lot_units);
    rig.ledger.indexes = crate::indexes::Indexes::of(&rig.ledger.tables);
    rig.place("AAA", 20);
    let two = rig.taking("AAA", "o2", Side::Sell, 2);
    assert!(matches!(rig.refused(Command::ExecuteOrder(two)), Refusal::Overflow { .. }));
    let state = rig.ledger.tables.symbols.get(&symbol("AAA")).unwrap();
    assert_eq!(state.pnl.position, Position(most - 1));
    rig.mark("AAA", 196, rig.now);
    assert_eq!(rig.state("AAA").marks.counted.map(|mark| mark.price), Some(RefPrice(196)));
    rig.mark("AAA", 199, rig.now + 1);
    assert_eq!(rig.state("AAA").marks.counted.map(|mark| mark.price), Some(RefPrice(196)), "it is ignored");
}

#[test]
fn a_fill_moves_both_accounts_and_the_house_and_open_accounts_go_below_0() {
    let mut rig = rig(Instrument { maker_fee_ppm: -20, taker_fee_ppm: 400, ..instrument(1) });
    rig.take("AAA", "o1", Side::Buy, 4);
    // 404 ticks x lots are 4,040,000,000 units: 400 and 20 millionths of that.
    let (taker_fee, rebate) = (Money(1_616_000), Money(80_800));
    assert_eq!(rig.balance("alice", "BASE"), (lots(4), Money::ZERO));
    assert_eq!(rig.balance("alice", "QUOTE"), (Money(-money(404).0 - taker_fee.0), Money::ZERO));
    let pnl = rig.state("AAA").pnl;
    assert_eq!((pnl.cash, pnl.fees), (Money(money(404).0 + rebate.0), Money(-rebate.0)));
    let fees: Vec<(String, Money)> = rig.ledger.fees_paid().map(|(asset, fees)| (asset.to_string(), *fees)).collect();
    assert_eq!(fees, [("QUOTE".to_owned(), Money(taker_fee.0 - rebate.0))]);
    let Some(Event::FillCommitted(fill)) = rig.events.get(1) else { panic!("{:?}", rig.events) };
    assert_eq!((fill.notional, fill.taker_fee, fill.maker_fee), (money(404), taker_fee, Money(-rebate.0)));
}

#[test]
fn fees_are_rounded_up_and_rebates_towards_0() {
    let mut rig = rig(Instrument {
        tick_size: "0.000000000002".parse().unwrap(),
        lot_size: "1".parse().unwrap(),
        maker_fee_ppm: -2_600,
        taker_fee_ppm: 2_600,
        ..instrument(1)
    });
    rig.take("AAA", "o1", Side::Buy, 1);
    let Some(Event::FillCommitted(fill)) = rig.events.get(1) else { panic!("{:?}", rig.events) };
    assert_eq!((fill.notional, fill.taker_fee, fill.maker_fee), (Money(202), Money(1), Money(0)));
}

#[test]
fn closing_a_part_takes_its_share_of_the_cost_rounded_down() {
    let mut rig = rig(instrument(1));
    let odd = PlaceQuote { bid: Some(side(100, 20)), ask: Some(side(101, 20)), ..rig.quote("AAA", 1) };
    rig.take("AAA", "o1", Side::Sell, 2);
    rig.ok(Command::PlaceQuote(PlaceQuote { position_seq: 1, quote_seq: 2, ..odd }));
    rig.take("AAA", "o2", Side::Sell, 1);
    let bought = rig.state("AAA").pnl;
    assert_eq!((bought.position, bought.cost), (Position(3), money(99 + 99 + 100)));
    rig.take("AAA", "o3", Side::Buy, 1);
    let pnl = rig.state("AAA").pnl;
    let share = money(298).0 / 3;
    assert_eq!(pnl.cost, Money(money(298).0 - share));
    assert_eq!(pnl.realised, Money(money(101).0 - share));
    rig.take("AAA", "o4", Side::Buy, 2);
    assert_eq!((rig.state("AAA").pnl.cost, rig.state("AAA").pnl.realised), (Money(0), money(303 - 298)));
}

#[test]
fn the_share_of_a_short_position_is_rounded_down_too() {
    let mut rig = rig(instrument(1));
    rig.take("AAA", "o1", Side::Buy, 2);
    rig.ok(Command::PlaceQuote(PlaceQuote { ask: Some(side(102, 20)), ..rig.quote("AAA", 20) }));
    rig.take("AAA", "o2", Side::Buy, 1);
    assert_eq!(rig.state("AAA").pnl.cost, money(-304));
    rig.take("AAA", "o3", Side::Sell, 1);
    let share = (-money(304).0).div_euclid(3);
    assert_eq!(rig.state("AAA").pnl.cost, Money(-money(304).0 - share));
    assert_eq!(rig.state("AAA").pnl.realised, Money(-money(99).0 - share));
}

#[test]
fn a_fill_through_0_closes_and_opens() {
    let mut rig = rig(instrument(1));
    rig.take("AAA", "o1", Side::Buy, 2);
    rig.take("AAA", "o2", Side::Sell, 5);
    let pnl = rig.state("AAA").pnl;
    assert_eq!((pnl.position, pnl.cost, pnl.realised), (Position(3), money(3 * 99), money(2 * 2)));
}

#[test]
fn a_resting_buy_locks_its_notional_and_the_most_that_fees_can_be() {
    let mut rig = rig(Instrument { maker_fee_ppm: 100, taker_fee_ppm: 300, ..instrument(1) });
    rig.limited("bob", 1_000);
    let order = rig.order_of("bob", "o1", Side::Buy, 90, 10);
    rig.ok(Command::ExecuteOrder(order));
    let id = rig.index();
    let locks = |left: i128| money(90 * left).0 + money(90 * left).0 / 10_000 + left;
    assert_eq!(rig.balance("bob", "QUOTE"), (money(1_000), Money(locks(10))));
    let mut taking = rig.order_of("alice", "o2", Side::Sell, 90, 4);
    taking.fills = vec![PlannedFill { against: Against::Order(id), leaves: Qty(10), price: Price(90), qty: Qty(4) }];
    taking.remainder = Remainder::None;
    rig.pull("AAA");
    rig.ok(Command::ExecuteOrder(taking));
    let paid = money(360).0 + money(360).0 / 10_000;
    assert_eq!(rig.balance("bob", "QUOTE"), (Money(money(1_000).0 - paid), Money(locks(6))));
    assert_eq!(rig.balance("bob", "BASE"), (lots(4), Money::ZERO));
    rig.cancel("bob", id);
    assert_eq!(rig.balance("bob", "QUOTE").1, Money::ZERO);
}

#[test]
fn a_rebate_locks_nothing_beyond_the_notional() {
    let mut rig = rig(Instrument { maker_fee_ppm: -100, taker_fee_ppm: 300, ..instrument(1) });
    rig.limited("bob", 900);
    let order = rig.order_of("bob", "o1", Side::Buy, 90, 10);
    rig.ok(Command::ExecuteOrder(order));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(900), money(900)));
}

#[test]
fn a_limited_account_spends_what_it_has_to_the_unit_and_no_more() {
    let mut rig = rig(Instrument { taker_fee_ppm: 400, ..instrument(1) });
    let cost = Money(money(404).0 + money(404).0 * 400 / 1_000_000);
    rig.decide(ControlChange::LimitAccount { account: account("bob") });
    rig.fund("bob", "QUOTE", Money(cost.0 - 1));
    let order = rig.taking_of("bob", "o1", Side::Buy, 4);
    assert_eq!(rig.short_of(order.clone()), (asset("QUOTE"), Money(cost.0 - 1), cost));
    rig.fund("bob", "QUOTE", Money(1));
    rig.ok(Command::ExecuteOrder(order));
    assert_eq!(rig.balance("bob", "QUOTE").0, Money::ZERO);
    let sale = rig.order_of("bob", "o2", Side::Sell, 110, 5);
    assert_eq!(rig.short_of(sale), (asset("BASE"), lots(4), lots(5)));
    let sale = rig.order_of("bob", "o2", Side::Sell, 110, 4);
    rig.ok(Command::ExecuteOrder(sale));
    assert_eq!(rig.balance("bob", "BASE"), (lots(4), lots(4)));
}

#[test]
fn what_it_gets_from_itself_does_not_count() {
    let mut rig = rig(instrument(1));
    rig.pull("AAA");
    rig.limited("bob", 0);
    rig.fund("bob", "BASE", lots(5));
    let sale = rig.order_of("bob", "o1", Side::Sell, 100, 5);
    rig.ok(Command::ExecuteOrder(sale));
    let mut taking = rig.order_of("bob", "o2", Side::Buy, 100, 5);
    taking.fills =
        vec![PlannedFill { against: Against::Order(rig.index()), leaves: Qty(5), price: Price(100), qty: Qty(5) }];
    taking.remainder = Remainder::None;
    assert_eq!(rig.short_of(taking), (asset("QUOTE"), Money::ZERO, money(500)));
}

#[test]
fn short_contracts_lock_what_they_pay() {
    let mut rig = rig(contract());
    rig.limited("bob", 101 * 3 - 1);
    let order = rig.taking_of("bob", "o1", Side::Sell, 3);
    assert_eq!(rig.short_of(order), (asset("QUOTE"), money(302), money(303)), "3 x (200 - 99)");
    rig.fund("bob", "QUOTE", money(1));
    let order = rig.taking_of("bob", "o1", Side::Sell, 3);
    rig.ok(Command::ExecuteOrder(order));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(303 + 297), money(600)));
    assert_eq!(rig.balance("bob", "RAIN").0, lots(-3));
    // Buying them back frees what they locked.
    let order = rig.taking_of("bob", "o2", Side::Buy, 3);
    rig.ok(Command::ExecuteOrder(order));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(600 - 303), Money::ZERO));
}

#[test]
fn a_sale_of_contracts_locks_those_that_are_free_and_money_for_the_others() {
    let mut rig = rig(contract());
    rig.limited("bob", 1_000);
    let order = rig.taking_of("bob", "o1", Side::Buy, 3);
    rig.ok(Command::ExecuteOrder(order));
    let sale = rig.order_of("bob", "o2", Side::Sell, 150, 5);
    rig.ok(Command::ExecuteOrder(sale));
    let id = rig.index();
    assert_eq!(rig.balance("bob", "RAIN"), (lots(3), lots(3)));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(1_000 - 303), money(2 * (200 - 150))));
    rig.pull("AAA");
    let buy = |rig: &mut Rig, id_of: &str, leaves: i64, qty: i64| {
        let mut taking = rig.order_of("alice", id_of, Side::Buy, 150, qty);
        let against = Against::Order(id);
        taking.fills = vec![PlannedFill { against, leaves: Qty(leaves), price: Price(150), qty: Qty(qty) }];
        taking.remainder = Remainder::None;
        rig.ok(Command::ExecuteOrder(taking));
    };
    // What it has is filled first.
    buy(&mut rig, "o3", 5, 3);
    assert_eq!(rig.balance("bob", "RAIN"), (lots(0), lots(0)));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(697 + 450), money(100)));
    buy(&mut rig, "o4", 2, 1);
    assert_eq!(rig.balance("bob", "RAIN").0, lots(-1));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(1_147 + 150), money(200 + 50)));
}

#[test]
fn contracts_that_a_sale_locks_can_be_sold_once_more_at_the_price_of_owing_them() {
    let mut rig = rig(contract());
    rig.limited("bob", 1_000);
    let order = rig.taking_of("bob", "o1", Side::Buy, 3);
    rig.ok(Command::ExecuteOrder(order));
    let sale = rig.order_of("bob", "o2", Side::Sell, 150, 3);
    rig.ok(Command::ExecuteOrder(sale));
    let order = rig.taking_of("bob", "o3", Side::Sell, 2);
    rig.ok(Command::ExecuteOrder(order));
    assert_eq!(rig.balance("bob", "RAIN"), (lots(1), lots(3)));
    assert_eq!(rig.balance("bob", "QUOTE"), (money(697 + 198), money(2 * 200)));
}

#[test]
fn an_account_is_limited_only_where_it_owes_nothing_and_has_no_open_order() {
    let mut rig = rig(instrument(1));
    let limit = || ControlChange::LimitAccount { account: account("alice") };
    let busy = Refusal::AccountBusy { account: account("alice") };
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    assert_eq!(rig.try_to(limit()), busy);
    rig.cancel("alice", id);
    rig.take("AAA", "o2", Side::Buy, 1);
    assert_eq!(rig.try_to(limit()), busy, "it owes 101");
    let stale = rig.version() + 1;
    assert!(matches!(rig.refused(control(limit(), stale)), Refusal::ControlVersion { .. }), "the version comes first");
    rig.fund("alice", "QUOTE", money(101));
    rig.decide(limit());
    let sale = rig.order_of("alice", "o3", Side::Sell, 110, 1);
    rig.ok(Command::ExecuteOrder(sale));
    rig.decide(limit());
    assert_eq!(rig.version(), 3, "again: accepted, and nothing is checked");
}

#[test]
fn deposits_are_of_known_assets_and_leave_a_limited_account_no_less_than_0_free() {
    let mut rig = rig(instrument(1));
    let contract = Command::DefineSymbol(DefineSymbol { symbol: symbol("RAIN"), instrument: contract() });
    rig.ok(contract);
    let deposit = |of: &str, amount: i128| ControlChange::Deposit {
        account: account("bob"),
        asset: asset(of),
        amount: Money(amount),
    };
    for unknown in ["OTHER", "RAIN"] {
        assert_eq!(rig.try_to(deposit(unknown, 1)), Refusal::UnknownAsset { asset: asset(unknown) });
    }
    rig.limited("bob", 100);
    let order = rig.order_of("bob", "o1", Side::Buy, 60, 1);
    rig.ok(Command::ExecuteOrder(order));
    let short = Refusal::BalanceShort { asset: asset("QUOTE"), free: money(40), needed: Money(money(40).0 + 1) };
    assert_eq!(rig.try_to(deposit("QUOTE", -money(40).0 - 1)), short);
    rig.fund("bob", "QUOTE", money(-40));
    let deposits: Vec<Money> = rig.ledger.deposits().map(|(_, sum)| *sum).collect();
    assert_eq!(deposits, [money(60)]);
    for amount in [DEPOSIT_MAX + 1, i128::MAX] {
        assert!(matches!(rig.try_to(deposit("QUOTE", amount)), Refusal::Overflow { .. }));
    }
    rig.fund("alice", "QUOTE", Money(-DEPOSIT_MAX));
    assert_eq!(rig.balance("alice", "QUOTE").0, Money(-DEPOSIT_MAX), "an open account may owe");
}

#[test]
fn a_contract_is_an_asset_of_its_own() {
    let mut rig = rig(instrument(1));
    let define =
        |name: &str, instrument: Instrument| Command::DefineSymbol(DefineSymbol { symbol: symbol(name), instrument });
    for base in ["BASE", "QUOTE"] {
        let shared = define("RAIN", Instrument { base: asset(base), quote: asset("OTHER"), ..contract() });
        assert!(matches!(rig.refused(shared), Refusal::Invalid { .. }), "{base}");
    }
    rig.ok(define("RAIN", contract()));
    rig.ok(define("RAIN", contract()));
    for shared in [
        define("SNOW", contract()),
        define("SNOW", Instrument { base: asset("RAIN"), ..instrument(1) }),
        define("SNOW", Instrument { quote: asset("RAIN"), ..instrument(1) }),
    ] {
        assert!(matches!(rig.refused(shared), Refusal::Invalid { .. }));
    }
    rig.ok(define("SNOW", Instrument { base: asset("SNOW"), ..contract() }));
}

#[test]
fn there_is_room_for_so_many_accounts() {
    let mut rig = rig(instrument(1));
    let change = |number: usize| {
        let amount = Money(1);
        ControlChange::Deposit { account: account(&format!("a{number}")), asset: asset("QUOTE"), amount }
    };
    for number in 0..ACCOUNTS_MAX {
        let command = control(change(number), number as u64);
        let input = Input::Client(Envelope { session: 0, seq: 0, command });
        let (response, _) = rig.ledger.apply(rig.ledger.last_index() + 1, Millis(rig.now), &input);
        assert!(matches!(response.outcome, Outcome::Accepted(_)), "{response:?}");
    }
    let full = |refusal: Refusal| matches!(refusal, Refusal::Full { max, .. } if max == ACCOUNTS_MAX as u64);
    assert!(full(rig.try_to(change(ACCOUNTS_MAX))));
    assert!(full(rig.try_to(ControlChange::LimitAccount { account: account("bob") })));
    let order = rig.order_of("bob", "o1", Side::Buy, 90, 1);
    assert!(full(rig.refused(Command::ExecuteOrder(order))));
    let order = rig.order_of("a7", "o1", Side::Buy, 90, 1);
    rig.ok(Command::ExecuteOrder(order));
    rig.decide(change(8));
}

#[test]
fn the_basis_is_chosen_before_the_first_symbol() {
    let mut rig = Rig::new();
    let worst = || ExposureBasis::WorstLoss { asset: asset("QUOTE") };
    let basis = |limit: i128| ControlChange::ExposureBasis { basis: worst(), limit: Exposure(limit) };
    let out = Refusal::LimitOutOfRange { hard_limit: Exposure(WORST_LOSS_LIMIT_MAX) };
    assert_eq!(rig.try_to(basis(WORST_LOSS_LIMIT_MAX + 1)), out);
    rig.decide(basis(money(3_000).0));
    let other = Instrument { quote: asset("OTHER"), ..instrument(1) };
    let other = Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument: other });
    assert_eq!(rig.refused(other), Refusal::OtherQuoteAsset { asset: asset("QUOTE") });
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument: contract() }));
    rig.define("SPOT", 1);
    assert_eq!(rig.try_to(basis(1)), Refusal::SymbolsDefined);
    assert_eq!(rig.try_to(ControlChange::ExposureLimit { limit: Exposure(-1) }), out);
    rig.join("m1");
    rig.place("AAA", 10);
    assert_eq!(rig.reserved(), (money(990).0, money(10 * (200 - 101)).0));
    rig.place("SPOT", 10);
    assert_eq!(rig.reserved(), (money(2 * 990).0, money(990 + 1_010).0));
}

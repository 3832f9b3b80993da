//! Commands that an operator gives. Each change of control but engaging the kill switch names the control
//! version that it was decided on, so that a late repeat cannot undo a later order.

use quorate_api::Read;
use quorate_domain::{Asset, Exposure, ExposureBasis, Instrument, Kind, MAX_PRICE, Money, Price, Qty, Symbol};
use quorate_ledger::{Command, ControlChange, ControlCommand, DefineSymbol, Outcome, QuotingScope, Response};

use crate::{
    Ctl,
    args::{Decision, DefineSymbolArgs, KillSwitchAction, OnOff, QuotingArgs, ReviseArgs},
    failure::CtlError,
};

fn instrument(args: DefineSymbolArgs) -> Instrument {
    let kind = args.pays.map_or(Kind::Spot, |pays| Kind::Binary { pays: Price(pays) });
    let highest = args.pays.map_or(MAX_PRICE, |pays| pays.saturating_sub(1));
    Instrument {
        min_price: Price(args.min_price),
        max_price: Price(args.max_price.unwrap_or(highest)),
        min_notional: args.min_notional,
        maker_fee_ppm: args.maker_fee_ppm,
        taker_fee_ppm: args.taker_fee_ppm,
        kind,
        ..Instrument::spot(args.base, args.quote, args.tick_size, args.lot_size, args.exposure_per_lot)
    }
}

impl Ctl {
    pub(crate) async fn define_symbol(&mut self, args: DefineSymbolArgs) -> Result<(), CtlError> {
        let command = Command::DefineSymbol(DefineSymbol { symbol: args.symbol.clone(), instrument: instrument(args) });
        let session = self.client.session();
        let outcome = session.submit(&command, self.deadline()).await;
        // One that cannot be closed expires by itself.
        let _ = session.close(self.deadline()).await;
        self.report(&outcome?)
    }

    pub(crate) async fn quoting(&mut self, args: QuotingArgs) -> Result<(), CtlError> {
        let scope = match (args.symbol, args.maker) {
            (Some(symbol), _) => QuotingScope::Symbol(symbol),
            (None, Some(maker)) => QuotingScope::Maker(maker),
            (None, None) => QuotingScope::All,
        };
        let on = args.state == OnOff::On;
        self.decide(ControlChange::Quoting { scope, on }, args.decision).await
    }

    pub(crate) async fn limit(&mut self, limit: Exposure, decision: Decision) -> Result<(), CtlError> {
        self.decide(ControlChange::ExposureLimit { limit }, decision).await
    }

    pub(crate) async fn position_limit(
        &mut self,
        symbol: Symbol,
        max: Option<i64>,
        decision: Decision,
    ) -> Result<(), CtlError> {
        self.decide(ControlChange::PositionLimit { symbol, max: max.map(Qty) }, decision).await
    }

    pub(crate) async fn kill_switch(&mut self, action: KillSwitchAction, decision: Decision) -> Result<(), CtlError> {
        let engaged = action == KillSwitchAction::Engage;
        self.decide(ControlChange::KillSwitch { engaged }, decision).await
    }

    pub(crate) async fn exposure_basis(
        &mut self,
        worst_loss: Option<Asset>,
        limit: &str,
        decision: Decision,
    ) -> Result<(), CtlError> {
        let wrong =
            || CtlError::Usage(format!("'{limit}' is no limit: give whole units, or with --worst-loss an amount"));
        let (basis, limit) = match worst_loss {
            None => (ExposureBasis::Units, limit.parse().map_err(|_| wrong())?),
            Some(asset) => {
                let limit: Money = limit.parse().map_err(|_| wrong())?;
                (ExposureBasis::WorstLoss { asset }, Exposure(limit.0))
            }
        };
        self.decide(ControlChange::ExposureBasis { basis, limit }, decision).await
    }

    /// What is left out stays as the ledger has it now; the revision tells whether it still has.
    pub(crate) async fn revise(&mut self, args: ReviseArgs) -> Result<(), CtlError> {
        let options = quorate_client::ReadOptions::linearizable().within(self.timeout);
        let symbols = self.client.symbols(&options).await?.data;
        let Some(view) = symbols.into_iter().find(|view| view.symbol == args.symbol) else {
            return Err(CtlError::Usage(format!("symbol {} is not defined", args.symbol)));
        };
        let present = view.instrument;
        let instrument = Instrument {
            tick_size: args.tick_size.unwrap_or(present.tick_size),
            min_price: args.min_price.map_or(present.min_price, Price),
            max_price: args.max_price.map_or(present.max_price, Price),
            min_notional: args.min_notional.unwrap_or(present.min_notional),
            maker_fee_ppm: args.maker_fee_ppm.unwrap_or(present.maker_fee_ppm),
            taker_fee_ppm: args.taker_fee_ppm.unwrap_or(present.taker_fee_ppm),
            exposure_per_lot: args.exposure_per_lot.unwrap_or(present.exposure_per_lot),
            ..present
        };
        let change = ControlChange::Instrument { symbol: args.symbol, instrument, revision: view.revision + 1 };
        self.decide(change, args.decision).await
    }

    /// Engaging the kill switch is meant whatever else was changed in between, and needs no version; all else does.
    pub(crate) async fn decide(&mut self, change: ControlChange, decision: Decision) -> Result<(), CtlError> {
        let Decision { actor, reason, control_version } = decision;
        let control_version = match change {
            ControlChange::KillSwitch { engaged: true } => 0,
            _ => self.control_version(control_version).await?,
        };
        let command = Command::Control(ControlCommand { actor, reason, control_version, change });
        let response = self.client.submit_without_session(&command, self.deadline()).await?;
        self.report(&response)
    }

    async fn control_version(&self, given: Option<u64>) -> Result<u64, CtlError> {
        match given {
            Some(version) => Ok(version),
            None => {
                let options = quorate_client::ReadOptions::linearizable().within(self.timeout);
                let Read { data, .. } = self.client.status(&options).await?;
                Ok(data.control.control_version)
            }
        }
    }

    fn report(&self, response: &Response) -> Result<(), CtlError> {
        match &response.outcome {
            Outcome::Accepted(_) => self.out.show(response, |response| format!("done, at index {}", response.index)),
            Outcome::Refused(refusal) => {
                if self.out.is_json() {
                    self.out.object(response)?;
                }
                Err(CtlError::Refused(refusal.to_string()))
            }
        }
    }
}

//! Commands that an operator gives. Each change of control but engaging the kill switch names the control
//! version that it was decided on, so that a late repeat cannot undo a later order.

use quorate_api::Read;
use quorate_domain::{Exposure, Instrument, Kind, MAX_PRICE, Price};
use quorate_ledger::{
    Command, DefineSymbol, Outcome, QuotingScope, Response, SetExposureLimit, SetKillSwitch, SetQuoting,
};

use crate::{
    Ctl,
    args::{DefineSymbolArgs, KillSwitchAction, OnOff, QuotingArgs},
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
        let control_version = self.control_version(args.control_version).await?;
        let on = args.state == OnOff::On;
        let response = self.control(&Command::SetQuoting(SetQuoting { scope, on, control_version })).await?;
        self.report(&response)
    }

    pub(crate) async fn limit(&mut self, limit: Exposure, control_version: Option<u64>) -> Result<(), CtlError> {
        let control_version = self.control_version(control_version).await?;
        let response = self.control(&Command::SetExposureLimit(SetExposureLimit { limit, control_version })).await?;
        self.report(&response)
    }

    /// Engaging is meant whatever else was changed in between, and needs no version; turning it off does.
    pub(crate) async fn kill_switch(&mut self, action: KillSwitchAction) -> Result<(), CtlError> {
        let engaged = action == KillSwitchAction::Engage;
        let control_version = if engaged { 0 } else { self.control_version(None).await? };
        let response = self.control(&Command::SetKillSwitch(SetKillSwitch { engaged, control_version })).await?;
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

    async fn control(&self, command: &Command) -> Result<Response, CtlError> {
        Ok(self.client.submit_without_session(command, self.deadline()).await?)
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

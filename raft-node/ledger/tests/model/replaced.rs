//! A maker that wants another quote does not want the one that stands: whatever a replacement is refused for once its number
//! is used up, nothing stands afterwards.

use quorate_domain::Symbol;
use quorate_ledger::{Command, Envelope, Event, Input, Ledger, Outcome, QuoteEndReason, Refusal, bounds::NAMES_MAX};

use crate::{generate::Generator, naive::Model};

const SEEDS: u64 = 120;
const ENTRIES: usize = 300;

/// The symbol whose quote the entry was to replace or to place.
fn placing(input: &Input) -> Option<&Symbol> {
    match input {
        Input::Client(Envelope { command: Command::PlaceQuote(place), .. }) => Some(&place.symbol),
        Input::Client(_) | Input::Leader(_) => None,
    }
}

/// Why a replacement that used up its number was refused.
fn kind(refusal: &Refusal) -> Option<usize> {
    match refusal {
        Refusal::CrossesResting { .. } => Some(0),
        Refusal::PositionLimit { .. } => Some(1),
        Refusal::ExposureShort { .. } => Some(2),
        Refusal::TooHeavy { .. } => Some(3),
        _ => None,
    }
}

#[test]
fn no_quote_stands_after_a_refused_replacement() {
    // How often one stood before, by the kind of the refusal.
    let mut ended = [0; 4];
    for seed in 1..=SEEDS {
        let (mut generator, mut model, mut ledger) = (Generator::new(seed), Model::new(NAMES_MAX), Ledger::new());
        for _ in 0..ENTRIES {
            let step = generator.next(&model);
            model.apply(step.index, step.now, &step.input);
            let (response, events) = ledger.apply(step.index, step.now, &step.input);
            let Some(symbol) = placing(&step.input).filter(|_| response.index == step.index) else { continue };
            let Outcome::Refused(refusal) = &response.outcome else { continue };
            if let Some(kind) = kind(refusal) {
                let quote = ledger.symbol(symbol).and_then(|state| state.quote.as_ref());
                assert!(quote.is_none(), "seed {seed}, entry {}: {refusal:?}, and {quote:?} stands", step.index);
                let replaced = |event: &&Event| matches!(event, Event::QuoteEnded { reason: QuoteEndReason::Replaced, symbol: of, .. } if of == symbol);
                ended[kind] += events.iter().filter(replaced).count();
            }
        }
    }
    println!("quotes that a refused replacement ended (crossing, position, exposure, weight): {ended:?}");
    assert!(ended[..3].iter().all(|count| *count > 0), "{ended:?}");
}

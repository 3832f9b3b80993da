//! A sender of single orders that keeps a journal like a publisher's, so that the judge can hold it to that.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::wait::eventually;

/// How long one answer may take: longer than the exchange's patience, so that it speaks first.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// *Unknown*, as the exchange says it.
const UNKNOWN: i64 = -1007;
/// What the exchange says of a client order id that is known already.
const DUPLICATE: &str = "Duplicate order sent.";

/// What became of one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It was placed: the exchange's answer.
    Placed(Value),
    /// It was refused, or is unknown: the code and the text.
    Refused(i64, String),
    /// No answer came.
    Lost(String),
}

impl Reply {
    /// The answer of a placed order.
    ///
    /// # Errors
    /// Where it was not placed.
    pub fn placed(self) -> Result<Value> {
        match self {
            Self::Placed(answer) => Ok(answer),
            other => anyhow::bail!("not placed: {other:?}"),
        }
    }

    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused(code, _) => Some(*code),
            Self::Placed(_) | Self::Lost(_) => None,
        }
    }

    /// Whether the order is known already: it was placed, and how it stands a query tells.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Refused(_, text) if text == DUPLICATE)
    }

    /// Whether the order may or may not have been placed.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost(_)) || self.code() == Some(UNKNOWN)
    }
}

/// Sends orders for the exchange's default account.
#[derive(Debug)]
pub struct Trader {
    http: reqwest::Client,
    exchange: String,
    journal: Mutex<(File, BTreeSet<String>)>,
}

impl Trader {
    /// Sends to `exchange`, a base URL; appends to `journal`.
    ///
    /// # Errors
    /// Where the journal cannot be opened.
    pub fn new(exchange: String, journal: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(journal)?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
        Ok(Self { http, exchange, journal: Mutex::new((file, BTreeSet::new())) })
    }

    /// Sends to another exchange from now on.
    pub fn turn_to(&mut self, exchange: String) {
        self.exchange = exchange;
    }

    /// Sends an order under a client order id; `order` holds the other parameters. The same id again is a retry.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn place(&self, id: &str, order: &str) -> Result<Reply> {
        let is_new = {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.1.insert(id.to_owned())
        };
        if is_new {
            self.write(&json!({"t": "intent", "client_order_id": id}))?;
        }
        let form = format!("newClientOrderId={id}&newOrderRespType=FULL&{order}");
        let request = self.http.post(format!("{}/api/v3/order", self.exchange));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let reply = Self::reply(request).await;
        match &reply {
            Reply::Placed(answer) => self.write(&told("ack", id, answer))?,
            // It stands in the ledger already; how it stands, a query tells.
            Reply::Refused(_, text) if text == DUPLICATE => {}
            Reply::Refused(code, _) if *code != UNKNOWN => {
                self.write(&json!({"t": "ack", "client_order_id": id, "code": code}))?;
            }
            Reply::Refused(..) | Reply::Lost(_) => {}
        }
        Ok(reply)
    }

    /// Asks how an order stands.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub async fn query(&self, id: &str, symbol: &str) -> Result<Reply> {
        let reply = Self::reply(self.http.get(self.named(id, symbol))).await;
        match &reply {
            Reply::Placed(answer) => self.write(&told("settled", id, answer))?,
            Reply::Refused(-2013, _) => self.write(&json!({"t": "settled", "client_order_id": id, "code": -2013}))?,
            Reply::Refused(..) | Reply::Lost(_) => {}
        }
        Ok(reply)
    }

    /// Sends an order, under a new id each time, until one of them is filled: one that meets no quote has expired,
    /// and a repeat under its id would only say so again. Outcomes that are unknown are settled first.
    ///
    /// # Errors
    /// Where none is filled within 30 s, and where the journal cannot be written.
    pub async fn filled(&self, tag: &str, symbol: &str, order: &str) -> Result<Value> {
        let mut nth = 0;
        eventually(&format!("a filled order {tag} in {symbol}"), || {
            nth += 1;
            let id = format!("{tag}-{nth}");
            async move {
                let reply = self.place(&id, &format!("symbol={symbol}&{order}")).await?;
                if reply.is_unknown() {
                    eventually(&format!("the outcome of {id}"), || async {
                        anyhow::Ok((!self.query(&id, symbol).await?.is_unknown()).then_some(()))
                    })
                    .await?;
                }
                let answer = reply.placed()?;
                anyhow::Ok((answer["status"] == "FILLED").then_some(answer))
            }
        })
        .await
    }

    /// Cancels an order.
    pub async fn cancel(&self, id: &str, symbol: &str) -> Reply {
        Self::reply(self.http.delete(self.named(id, symbol))).await
    }

    /// The client order ids of all open orders.
    ///
    /// # Errors
    /// Where the exchange does not say.
    pub async fn open_orders(&self) -> Result<Vec<String>> {
        let answer = Self::reply(self.http.get(format!("{}/api/v3/openOrders", self.exchange))).await.placed()?;
        let rows = answer.as_array().context("a list")?;
        Ok(rows.iter().filter_map(|row| row["clientOrderId"].as_str().map(str::to_owned)).collect())
    }

    fn named(&self, id: &str, symbol: &str) -> String {
        format!("{}/api/v3/order?symbol={symbol}&origClientOrderId={id}", self.exchange)
    }

    async fn reply(request: reqwest::RequestBuilder) -> Reply {
        let answered = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        match answered.await {
            Err(error) => Reply::Lost(error.to_string()),
            Ok((status, body)) => match serde_json::from_slice::<Value>(&body) {
                Ok(answer) if status.is_success() => Reply::Placed(answer),
                Ok(answer) => {
                    let text = answer["msg"].as_str().unwrap_or_default();
                    answer["code"].as_i64().map_or_else(
                        || Reply::Lost(format!("{status} without a code: {answer}")),
                        |code| Reply::Refused(code, text.to_owned()),
                    )
                }
                Err(error) => Reply::Lost(format!("{status}: {error}")),
            },
        }
    }

    fn write(&self, line: &Value) -> Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{line}\n");
        ensure!(journal.0.write(line.as_bytes())? == line.len(), "the journal took half a line");
        Ok(())
    }
}

fn told(what: &str, id: &str, answer: &Value) -> Value {
    let fill = |fill: &Value| json!({"trade_id": fill["tradeId"], "qty": fill["qty"]});
    let fills: Vec<Value> = answer["fills"].as_array().into_iter().flatten().map(fill).collect();
    json!({
        "t": what, "client_order_id": id, "order_id": answer["orderId"], "status": answer["status"], "fills": fills,
    })
}

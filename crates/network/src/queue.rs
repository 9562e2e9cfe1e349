//! Limits of what an interface sends: the token bucket filter. Source: tc-tbf(8), linux/pkt_sched.h.

use crate::wire::{ACK, Batch, CREATE, REPLACE};

const RTM_NEWQDISC: u16 = 36;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_H_ROOT: u32 = u32::MAX;
/// The queue's handle, `1:`.
const HANDLE: u32 = 1 << 16;
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// Bytes that may go at once, at least: some large packets.
const BURST_MIN: u64 = 16 << 10;

/// Lets a link send so many bytes a second at most; bursts last 20 ms, and what waits, 50 ms.
pub(crate) fn limit(batch: &mut Batch, index: u32, rate: u64) {
    let clamp = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let burst = (rate / 50).max(BURST_MIN);
    let mut rate_spec = [0; 12]; // struct tc_ratespec
    rate_spec[1] = TC_LINKLAYER_ETHERNET;
    rate_spec[8..].copy_from_slice(&clamp(rate).to_ne_bytes());
    let waiting = clamp(burst + rate / 20);
    // struct tc_tbf_qopt: rate, peak rate, bytes that wait, bucket and packet in ticks.
    let options = [&rate_spec[..], &[0; 12], &waiting.to_ne_bytes(), &[0; 8]].concat();
    batch.message(RTM_NEWQDISC, ACK | CREATE | REPLACE, "limit the interface's rate", |batch| {
        let mut header = [0; 20]; // struct tcmsg
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..12].copy_from_slice(&HANDLE.to_ne_bytes());
        header[12..16].copy_from_slice(&TC_H_ROOT.to_ne_bytes());
        batch.raw(&header);
        batch.text(TCA_KIND, "tbf");
        batch.nest(TCA_OPTIONS, |batch| {
            batch.attribute(TCA_TBF_PARMS, &options);
            batch.host32(TCA_TBF_BURST, clamp(burst));
            if u32::try_from(rate).is_err() {
                batch.attribute(TCA_TBF_RATE64, &rate.to_ne_bytes());
            }
        });
    });
}

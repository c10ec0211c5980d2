//! The values that letters and records are made of.
//!
//! A value of an enumeration that is not known here is [`WireError::Unknown`]: a newer version has written it. Of an error
//! code only that is known then: that it is one.

use roomcast_protocol::{ErrorCode, MAX_NUMBER, MessageType, PayloadKind, PresenceUpdate};

use super::bytes::{Reader, WireError, Writer};
use super::version::Version;
use crate::host::Encoding;
use crate::id::ClientId;
use crate::log::{Epoch, Since};
use crate::state_position::StatePosition;
use crate::table::Number;

impl Writer<'_> {
    /// A number of a connection or room: its place plus one, then the uses; 0 alone for none.
    pub(crate) fn number<N: Number>(&mut self, number: N) {
        if number.place() == u32::MAX {
            return self.u8(0);
        }
        self.varint(u64::from(number.place()) + 1);
        self.varint(number.uses());
    }

    /// Nothing as 0, a number plus one.
    pub(crate) fn optional(&mut self, number: Option<u64>) {
        self.varint(number.map_or(0, |number| number.saturating_add(1)));
    }

    pub(crate) fn client(&mut self, client: ClientId) {
        self.raw(client.as_str().as_bytes());
    }

    pub(crate) fn encoding(&mut self, encoding: Encoding) {
        self.size(encoding.index());
    }

    pub(crate) fn message_type(&mut self, message_type: MessageType) {
        self.u8(message_type.number());
    }

    pub(crate) fn payload_kind(&mut self, kind: PayloadKind) {
        self.u8(kind.number());
    }

    /// By its name, as their order may change; as nodes of a version know it.
    pub(crate) fn error_code(&mut self, version: Version, code: ErrorCode) {
        self.text(version.code(code).as_str());
    }

    pub(crate) fn epoch(&mut self, epoch: Epoch) {
        self.text(epoch.as_str());
    }

    pub(crate) fn since(&mut self, since: Since) {
        self.epoch(since.epoch);
        self.varint(since.offset);
    }

    pub(crate) fn state_position(&mut self, position: StatePosition) {
        self.varint(position.since);
        self.varint(position.begun);
        self.varint(position.cursor);
    }

    pub(crate) fn presence(&mut self, update: &PresenceUpdate<'_>) {
        self.size(update.keys.len());
        for (key, value) in &update.keys {
            self.text(key);
            self.flags([value.is_some()]);
            if let Some(value) = value {
                self.text(value);
            }
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn number<N: Number>(&mut self) -> Result<N, WireError> {
        let place: u64 = self.varint()?;
        let Some(place) = place.checked_sub(1) else {
            return Ok(N::new(u32::MAX, u32::MAX));
        };
        let place = u32::try_from(place).map_err(|_| WireError::Range)?;
        if place == u32::MAX {
            return Err(WireError::Range);
        }
        Ok(N::new(place, self.varint()?))
    }

    /// An offset, a sender's number or a version: at most [`MAX_NUMBER`].
    pub(crate) fn offset(&mut self) -> Result<u64, WireError> {
        let number = self.varint()?;
        if number > MAX_NUMBER {
            return Err(WireError::Range);
        }
        Ok(number)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>, WireError> {
        let number: u64 = self.varint()?;
        if number > MAX_NUMBER + 1 {
            return Err(WireError::Range);
        }
        Ok(number.checked_sub(1))
    }

    pub(crate) fn client(&mut self) -> Result<ClientId, WireError> {
        let text = std::str::from_utf8(self.raw(ClientId::LENGTH)?);
        text.ok().and_then(ClientId::parse).ok_or(WireError::Text)
    }

    pub(crate) fn encoding(&mut self) -> Result<Encoding, WireError> {
        let index: usize = self.varint()?;
        Encoding::ALL.get(index).copied().ok_or(WireError::Unknown)
    }

    pub(crate) fn message_type(&mut self) -> Result<MessageType, WireError> {
        let number = u64::from(self.u8()?);
        MessageType::from_number(number).ok_or(WireError::Unknown)
    }

    pub(crate) fn payload_kind(&mut self) -> Result<PayloadKind, WireError> {
        let number = u64::from(self.u8()?);
        PayloadKind::from_number(number).ok_or(WireError::Unknown)
    }

    pub(crate) fn error_code(&mut self) -> Result<ErrorCode, WireError> {
        self.text().map(Version::code_read)
    }

    pub(crate) fn epoch(&mut self) -> Result<Epoch, WireError> {
        Epoch::parse(self.text()?).ok_or(WireError::Text)
    }

    pub(crate) fn since(&mut self) -> Result<Since, WireError> {
        Ok(Since {
            epoch: self.epoch()?,
            offset: self.offset()?,
        })
    }

    pub(crate) fn state_position(&mut self) -> Result<StatePosition, WireError> {
        Ok(StatePosition {
            since: self.offset()?,
            begun: self.offset()?,
            cursor: self.varint()?,
        })
    }

    pub(crate) fn presence(&mut self) -> Result<PresenceUpdate<'static>, WireError> {
        let keys = self.list(2, |bytes| {
            let key = bytes.text()?.to_owned();
            let [has_value] = bytes.flags()?;
            let value = has_value.then(|| bytes.text()).transpose()?;
            Ok((key.into(), value.map(|value| value.to_owned().into())))
        })?;
        Ok(PresenceUpdate {
            keys,
            nickname: None,
        })
    }
}

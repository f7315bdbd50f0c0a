//! What a finding is, and the kinds of findings.

use crate::model::words::words_schema;

/// Something that an admin should look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: FindingCode,
    /// What is wrong, with names and numbers.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    pub fn new(code: FindingCode, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { code, message: message.into(), remedy: remedy.into() }
    }
}

/// The kinds of findings, the most urgent first: failures, then hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingCode {
    GatewaySilent,
    CannotRecord,
    DatabaseUnusable,
    RecordUnproven,
    DiskFull,
    UpstreamDown,
    ModelMissing,
    CertificateUnusable,
    FirstPassword,
    UpstreamOpen,
    FolderOpen,
    ConfigOpen,
    ErasureLate,
    BackupLate,
    DiskLow,
    CertificateExpires,
    SlotsMismatch,
    FewFiles,
    SettingsContradict,
    NoEffect,
    PlainHttp,
}

words_schema!(impl FindingCode, "What is wrong.", FindingCode::ALL.map(FindingCode::name));

impl FindingCode {
    pub const ALL: [FindingCode; 21] = [
        FindingCode::GatewaySilent,
        FindingCode::CannotRecord,
        FindingCode::DatabaseUnusable,
        FindingCode::RecordUnproven,
        FindingCode::DiskFull,
        FindingCode::UpstreamDown,
        FindingCode::ModelMissing,
        FindingCode::CertificateUnusable,
        FindingCode::FirstPassword,
        FindingCode::UpstreamOpen,
        FindingCode::FolderOpen,
        FindingCode::ConfigOpen,
        FindingCode::ErasureLate,
        FindingCode::BackupLate,
        FindingCode::DiskLow,
        FindingCode::CertificateExpires,
        FindingCode::SlotsMismatch,
        FindingCode::FewFiles,
        FindingCode::SettingsContradict,
        FindingCode::NoEffect,
        FindingCode::PlainHttp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FindingCode::GatewaySilent => "gateway_silent",
            FindingCode::CannotRecord => "cannot_record",
            FindingCode::DatabaseUnusable => "database_unusable",
            FindingCode::RecordUnproven => "record_unproven",
            FindingCode::DiskFull => "disk_full",
            FindingCode::UpstreamDown => "upstream_down",
            FindingCode::ModelMissing => "model_missing",
            FindingCode::CertificateUnusable => "certificate_unusable",
            FindingCode::FirstPassword => "first_password",
            FindingCode::UpstreamOpen => "upstream_open",
            FindingCode::FolderOpen => "folder_open",
            FindingCode::ConfigOpen => "config_open",
            FindingCode::ErasureLate => "erasure_late",
            FindingCode::BackupLate => "backup_late",
            FindingCode::DiskLow => "disk_low",
            FindingCode::CertificateExpires => "certificate_expires",
            FindingCode::SlotsMismatch => "slots_mismatch",
            FindingCode::FewFiles => "few_files",
            FindingCode::SettingsContradict => "settings_contradict",
            FindingCode::NoEffect => "no_effect",
            FindingCode::PlainHttp => "plain_http",
        }
    }

    /// Returns the code of this name.
    pub fn named(name: &str) -> Option<FindingCode> {
        FindingCode::ALL.into_iter().find(|code| code.name() == name)
    }

    /// Returns whether it must be mended: requests fail, others get at what is not theirs, or what was promised (an erasure, a
    /// backup, a record that proves itself) is not done. Everything else is a hint.
    pub fn is_failure(self) -> bool {
        match self {
            FindingCode::GatewaySilent
            | FindingCode::CannotRecord
            | FindingCode::DatabaseUnusable
            | FindingCode::RecordUnproven
            | FindingCode::DiskFull
            | FindingCode::UpstreamDown
            | FindingCode::ModelMissing
            | FindingCode::CertificateUnusable
            | FindingCode::FirstPassword
            | FindingCode::UpstreamOpen
            | FindingCode::FolderOpen
            | FindingCode::ConfigOpen
            | FindingCode::ErasureLate
            | FindingCode::BackupLate => true,
            FindingCode::DiskLow
            | FindingCode::CertificateExpires
            | FindingCode::SlotsMismatch
            | FindingCode::FewFiles
            | FindingCode::SettingsContradict
            | FindingCode::NoEffect
            | FindingCode::PlainHttp => false,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>The numbers of libvirt's virErrorNumber that callers meet; others pass through as plain numbers.</summary>
public enum LibvirtErrorCode
{
    None = 0, // VIR_ERR_OK
    Internal = 1, // VIR_ERR_INTERNAL_ERROR
    NoSupport = 3, // VIR_ERR_NO_SUPPORT
    NoConnect = 5, // VIR_ERR_NO_CONNECT
    InvalidArgument = 8, // VIR_ERR_INVALID_ARG
    OperationFailed = 9, // VIR_ERR_OPERATION_FAILED
    XmlError = 27, // VIR_ERR_XML_ERROR
    SystemError = 38, // VIR_ERR_SYSTEM_ERROR
    Rpc = 39, // VIR_ERR_RPC
    NoDomain = 42, // VIR_ERR_NO_DOMAIN
    AuthenticationFailed = 45, // VIR_ERR_AUTH_FAILED
    OperationInvalid = 55, // VIR_ERR_OPERATION_INVALID
    ConfigurationUnsupported = 67, // VIR_ERR_CONFIG_UNSUPPORTED
    OperationTimeout = 68, // VIR_ERR_OPERATION_TIMEOUT
    ArgumentUnsupported = 74, // VIR_ERR_ARGUMENT_UNSUPPORTED
    OperationAborted = 78, // VIR_ERR_OPERATION_ABORTED
    AuthenticationCancelled = 79, // VIR_ERR_AUTH_CANCELLED
    OperationUnsupported = 84, // VIR_ERR_OPERATION_UNSUPPORTED
    AgentUnresponsive = 86, // VIR_ERR_AGENT_UNRESPONSIVE
    ResourceBusy = 87, // VIR_ERR_RESOURCE_BUSY
    AccessDenied = 88, // VIR_ERR_ACCESS_DENIED
    XmlInvalidSchema = 92, // VIR_ERR_XML_INVALID_SCHEMA
    AgentUnsynced = 97, // VIR_ERR_AGENT_UNSYNCED
    DeviceMissing = 99, // VIR_ERR_DEVICE_MISSING
    InvalidCheckpoint = 102, // VIR_ERR_INVALID_DOMAIN_CHECKPOINT
    NoCheckpoint = 103, // VIR_ERR_NO_DOMAIN_CHECKPOINT
    NoBackup = 104, // VIR_ERR_NO_DOMAIN_BACKUP
    CheckpointInconsistent = 109, // VIR_ERR_CHECKPOINT_INCONSISTENT
}

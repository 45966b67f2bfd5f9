// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;
using Tidemark.Engine.Care;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Copy;
using Tidemark.Engine.Points;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Restore;
using Tidemark.Engine.Verify;

namespace Tidemark.Cli.Output;

/// <summary><c>init --json</c>.</summary>
internal sealed record InitDocument(string Repository, string Id, bool Encrypted, string? KeyFile, bool SingleWriter);

/// <summary><c>backup --json</c>.</summary>
internal sealed record BackupDocument(IReadOnlyList<PointInfo> Points, IReadOnlyList<FailedMachine> Failed, Requests Requests);

/// <summary>A machine that was not backed up.</summary>
internal sealed record FailedMachine(string Machine, string Error);

/// <summary><c>backup --dry-run --json</c>.</summary>
internal sealed record PlanDocument(IReadOnlyList<MachinePlan> Machines);

internal sealed record MachinePlan(string Machine, IReadOnlyList<PlannedDisk> Disks, IReadOnlyList<NotProtectedInfo> NotProtected);

internal sealed record PlannedDisk(string Name, long Size, string Mode, string Reason);

/// <summary><c>list --json</c>.</summary>
internal sealed record ListDocument(IReadOnlyList<PointInfo> Points);

/// <summary><c>machines --json</c>.</summary>
internal sealed record MachinesDocument(IReadOnlyList<MachineDocument> Machines);

internal sealed record MachineDocument(
    string Name,
    string Uuid,
    string Host,
    string State,
    IReadOnlyList<MachineDiskDocument> Disks,
    IReadOnlyList<NotProtectedInfo> NotProtected);

/// <summary>A disk that can be protected; <c>Tracked</c> says whether incrementals can be read from a bitmap.</summary>
internal sealed record MachineDiskDocument(string Name, long Size, string Kind, string Format, string? Path, bool Tracked, string? Reason);

/// <summary><c>key list --json</c>.</summary>
internal sealed record KeysDocument(IReadOnlyList<KeyEntry> Keys);

/// <summary><c>key add --json</c>.</summary>
internal sealed record KeyAddedDocument(
    string Slot, string Role, string? KeyFile, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Domain);

/// <summary><c>key remove --json</c>.</summary>
internal sealed record KeyRemovedDocument(string Removed);

/// <summary><c>key export --json</c>: the sheet, or the file it was written to.</summary>
internal sealed record KeyExportDocument(string? Sheet, string? File);

/// <summary><c>checkpoint export FILE --json</c>.</summary>
internal sealed record CheckpointExportDocument(string File, int Checkpoints);

/// <summary><c>doctor --json</c>.</summary>
internal sealed record DoctorDocument(IReadOnlyList<FindingDocument> Findings, int Problems, int Warnings);

/// <summary>A finding; severity is <c>ok</c>, <c>note</c>, <c>warning</c> or <c>problem</c>.</summary>
internal sealed record FindingDocument(string Severity, string Subject, string What, string? Mend);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true, UseStringEnumConverter = true)]
[JsonSerializable(typeof(InitDocument))]
[JsonSerializable(typeof(BackupDocument))]
[JsonSerializable(typeof(PlanDocument))]
[JsonSerializable(typeof(ListDocument))]
[JsonSerializable(typeof(MachinesDocument))]
[JsonSerializable(typeof(PointInfo))]
[JsonSerializable(typeof(RestoreResult))]
[JsonSerializable(typeof(VerifyResult))]
[JsonSerializable(typeof(ForgetResult))]
[JsonSerializable(typeof(PruneResult))]
[JsonSerializable(typeof(CollectInfo))]
[JsonSerializable(typeof(LabelInfo))]
[JsonSerializable(typeof(StatsInfo))]
[JsonSerializable(typeof(CopySummary))]
[JsonSerializable(typeof(KeysDocument))]
[JsonSerializable(typeof(KeyAddedDocument))]
[JsonSerializable(typeof(KeyRemovedDocument))]
[JsonSerializable(typeof(KeyExportDocument))]
[JsonSerializable(typeof(DoctorDocument))]
[JsonSerializable(typeof(CheckpointListing))]
[JsonSerializable(typeof(CheckpointExportDocument))]
[JsonSerializable(typeof(ImportResult))]
[JsonSerializable(typeof(ReleaseResult))]
internal sealed partial class CliJson : JsonSerializerContext;

/// <summary>
/// A line of <c>--progress json</c>. Bytes; total is null where nobody knows; rate per second; eta in seconds, null while unknown.
/// </summary>
internal sealed record ProgressLine(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Machine,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Disk,
    long Done,
    long? Total,
    long Rate,
    double? Eta);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(ProgressLine))]
[JsonSerializable(typeof(CareProgress))]
internal sealed partial class LineJson : JsonSerializerContext;

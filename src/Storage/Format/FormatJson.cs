// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Storage;

/// <summary>JSON of config, slots, runs and points: camel case, nulls left out, unknown members ignored.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ConfigDocument))]
[JsonSerializable(typeof(KeySlotDocument))]
[JsonSerializable(typeof(RunDocument))]
[JsonSerializable(typeof(RestorePoint))]
[JsonSerializable(typeof(CondemnDocument))]
[JsonSerializable(typeof(CollectedIndexDocument))]
[JsonSerializable(typeof(ProbeDocument))]
[JsonSerializable(typeof(WaitDocument))]
[JsonSerializable(typeof(VerdictDocument))]
[JsonSerializable(typeof(RosterDocument))]
[JsonSerializable(typeof(DoneDocument))]
[JsonSerializable(typeof(LabelDocument))]
[JsonSerializable(typeof(QuarantineDocument))]
[JsonSerializable(typeof(LedgerDocument))]
internal sealed partial class FormatJson : JsonSerializerContext;

// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Tidemark.Qemu.Qmp;

/// <summary>Something that happened in QEMU on its own, such as <c>SHUTDOWN</c> or <c>JOB_STATUS_CHANGE</c>, with QEMU's clock.</summary>
public sealed record QmpEvent(string Name, JsonElement Data, DateTimeOffset Time);

/// <summary>QEMU's version from its greeting.</summary>
public sealed record QmpVersion(int Major, int Minor, int Micro, string Package)
{
    public override string ToString() => $"{Major}.{Minor}.{Micro}";
}

/// <summary>Bounds of a QMP connection, each with its reason.</summary>
internal static class QmpLimits
{
    /// <summary>Longest line read: the schema of QEMU 9 has 0.5 MB, a machine with hundreds of disks a few MB.</summary>
    public const int LineBytes = 32 << 20;

    /// <summary>Events kept for a reader that is behind; then the oldest is dropped and counted.</summary>
    public const int Events = 4096;

    /// <summary>QEMU greets at once; one that serves another client does not greet at all.</summary>
    public static readonly TimeSpan Greeting = TimeSpan.FromSeconds(10);

    /// <summary>Commands answer in milliseconds; a transaction over many disks with a full host in seconds.</summary>
    public static readonly TimeSpan Command = TimeSpan.FromSeconds(30);
}

/// <summary>One line from QEMU: exactly one of greeting, reply, error or event (QMP specification, section 2).</summary>
internal sealed record QmpLine
{
    [JsonPropertyName("QMP")]
    public QmpGreeting? Greeting { get; init; }

    [JsonPropertyName("return")]
    public JsonElement? Return { get; init; }

    [JsonPropertyName("error")]
    public QmpError? Error { get; init; }

    [JsonPropertyName("event")]
    public string? Event { get; init; }

    [JsonPropertyName("data")]
    public JsonElement? Data { get; init; }

    [JsonPropertyName("timestamp")]
    public QmpTimestamp? Timestamp { get; init; }

    [JsonPropertyName("id")]
    public long? Id { get; init; }
}

internal sealed record QmpGreeting([property: JsonPropertyName("version")] QmpGreetingVersion Version);

internal sealed record QmpGreetingVersion(
    [property: JsonPropertyName("qemu")] QmpVersionNumbers Qemu,
    [property: JsonPropertyName("package")] string? Package);

internal sealed record QmpVersionNumbers(
    [property: JsonPropertyName("major")] int Major,
    [property: JsonPropertyName("minor")] int Minor,
    [property: JsonPropertyName("micro")] int Micro);

internal sealed record QmpError(
    [property: JsonPropertyName("class")] string Class,
    [property: JsonPropertyName("desc")] string Description);

internal sealed record QmpTimestamp(
    [property: JsonPropertyName("seconds")] long Seconds,
    [property: JsonPropertyName("microseconds")] long Microseconds);

internal sealed record QmpCommand(
    [property: JsonPropertyName("execute")] string Execute,
    [property: JsonPropertyName("arguments")] JsonNode? Arguments,
    [property: JsonPropertyName("id")] long Id);

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(QmpLine))]
[JsonSerializable(typeof(QmpCommand))]
internal sealed partial class QmpJson : JsonSerializerContext;

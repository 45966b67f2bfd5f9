// SPDX-License-Identifier: Apache-2.0
using System.Collections;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Tidemark.Storage;

/// <summary>JSON of config, slots, runs and points: camel case, nulls left out, unknown members ignored.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectNullableAnnotations = true)]
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
internal sealed partial class FormatJson : JsonSerializerContext
{
    /// <summary>
    /// A document as it was stored. Nothing in it is null but what its type declares so: whoever holds a full key can seal any JSON, and
    /// must not trip those who read it.
    /// </summary>
    /// <exception cref="JsonException">The bytes are no such document.</exception>
    public static T Read<T>(ReadOnlySpan<byte> plain, JsonTypeInfo<T> type)
        where T : class
    {
        var document = JsonSerializer.Deserialize(plain, type);
        RequireWhole(document, mayBeNull: false, type.Type, type.Options, "document");
        return document!;
    }

    // The parser itself refuses a null only where a member is set: not in a list or map, nor for a constructor's argument that is left
    // out.
    private static void RequireWhole(object? value, bool mayBeNull, Type declared, JsonSerializerOptions options, string name)
    {
        if (value is null)
        {
            if (!mayBeNull)
                throw new JsonException($"'{name}' is null or lacks a value.");
            return;
        }

        var type = options.GetTypeInfo(declared);
        switch (type.Kind)
        {
            case JsonTypeInfoKind.Object:
                foreach (var member in type.Properties)
                {
                    if (member.Get is { } get)
                        RequireWhole(get(value), member.IsGetNullable, member.PropertyType, options, member.Name);
                }

                break;
            case JsonTypeInfoKind.Enumerable or JsonTypeInfoKind.Dictionary:
                foreach (var element in value is IDictionary map ? map.Values : (IEnumerable)value)
                    RequireWhole(element, mayBeNull: false, type.ElementType!, options, name);
                break;
        }
    }
}

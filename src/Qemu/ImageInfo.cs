// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Tidemark.Qemu;

/// <summary>What <c>qemu-img info</c> says of an image; sizes in bytes.</summary>
public sealed record ImageInfo
{
    [JsonPropertyName("filename")]
    public required string Path { get; init; }

    [JsonPropertyName("format")]
    public required string Format { get; init; }

    /// <summary>Size of the disk that the machine sees.</summary>
    [JsonPropertyName("virtual-size")]
    public required long VirtualSize { get; init; }

    /// <summary>Space that the image takes on its file system; null where that is unknown.</summary>
    [JsonPropertyName("actual-size")]
    public long? ActualSize { get; init; }

    [JsonPropertyName("cluster-size")]
    public long? ClusterSize { get; init; }

    [JsonPropertyName("encrypted")]
    public bool Encrypted { get; init; }

    [JsonPropertyName("backing-filename")]
    public string? BackingPath { get; init; }

    [JsonPropertyName("full-backing-filename")]
    public string? FullBackingPath { get; init; }

    [JsonPropertyName("backing-filename-format")]
    public string? BackingFormat { get; init; }

    [JsonPropertyName("format-specific")]
    public FormatInfo? FormatSpecific { get; init; }

    /// <summary>The qcow2 version: <c>0.10</c> or <c>1.1</c>; null for other formats. Only <c>1.1</c> can hold bitmaps.</summary>
    [JsonIgnore]
    public string? Compat => FormatSpecific?.Data?.Compat;

    /// <summary>The persistent bitmaps of this image itself, not of its backing chain.</summary>
    [JsonIgnore]
    public IReadOnlyList<BitmapInfo> Bitmaps => FormatSpecific?.Data?.Bitmaps ?? [];

    /// <summary>The external data file of a qcow2 image, if it has one.</summary>
    [JsonIgnore]
    public string? DataFile => FormatSpecific?.Data?.DataFile;
}

/// <summary>The part of <see cref="ImageInfo"/> that depends on the format.</summary>
public sealed record FormatInfo(
    [property: JsonPropertyName("type")] string Type,
    [property: JsonPropertyName("data")] FormatData? Data);

/// <summary>The qcow2 fields of <see cref="FormatInfo"/>; all null for other formats.</summary>
public sealed record FormatData(
    [property: JsonPropertyName("compat")] string? Compat,
    [property: JsonPropertyName("data-file")] string? DataFile,
    [property: JsonPropertyName("corrupt")] bool? Corrupt,
    [property: JsonPropertyName("bitmaps")] IReadOnlyList<BitmapInfo>? Bitmaps);

/// <summary>A persistent bitmap of a qcow2 image; granularity in bytes.</summary>
public sealed record BitmapInfo(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("granularity")] long Granularity,
    [property: JsonPropertyName("flags")] IReadOnlyList<string> Flags)
{
    /// <summary>It records writes whenever the image is open.</summary>
    [JsonIgnore]
    public bool Records => Flags.Contains("auto", StringComparer.Ordinal);

    /// <summary>It was not closed properly (or is in use right now): what it says can't be trusted.</summary>
    [JsonIgnore]
    public bool InUse => Flags.Contains("in-use", StringComparer.Ordinal);
}

[JsonSerializable(typeof(ImageInfo))]
internal sealed partial class ImageJson : JsonSerializerContext;

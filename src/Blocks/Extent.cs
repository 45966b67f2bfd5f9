// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Blocks;

/// <summary>What is known of the content of a range.</summary>
public enum ExtentKind
{
    /// <summary>May hold anything: read it.</summary>
    Data,

    /// <summary>Reads as zero bytes, whether it is a hole or explicit zeroes.</summary>
    Zero,
}

/// <summary>A range of a disk and what is known of its content.</summary>
public readonly record struct Extent(ByteRange Range, ExtentKind Kind);

// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>The keyed hash that names a chunk or node: 32 bytes. All zero means "a subtree of zero bytes" (docs/format.md section
/// 7).</summary>
[InlineArray(Size)]
public struct BlobId : IEquatable<BlobId>
{
    /// <summary>Bytes.</summary>
    public const int Size = 32;

    private byte _first;

    public static BlobId From(ReadOnlySpan<byte> bytes)
    {
        BlobId id = default;
        bytes[..Size].CopyTo(id);
        return id;
    }

    /// <summary>The id written as 64 hex digits.</summary>
    /// <exception cref="FormatException">Not 64 hex digits.</exception>
    public static BlobId Parse(string hex)
    {
        var bytes = Convert.FromHexString(hex);
        return bytes.Length == Size ? From(bytes) : throw new FormatException($"'{hex}' is not an id of {Size} bytes.");
    }

    public readonly bool IsZero => AsSpan(in this).IndexOfAnyExcept((byte)0) < 0;

    /// <summary>The first eight bytes: as good as random, since ids are keyed hashes.</summary>
    internal readonly ulong Prefix => Unsafe.ReadUnaligned<ulong>(in _first);

    public static bool operator ==(BlobId left, BlobId right) => left.Equals(right);

    public static bool operator !=(BlobId left, BlobId right) => !left.Equals(right);

    public static ReadOnlySpan<byte> AsSpan(in BlobId id) => MemoryMarshal.CreateReadOnlySpan(in id._first, Size);

    public readonly bool Equals(BlobId other) => AsSpan(in this).SequenceEqual(AsSpan(in other));

    public override readonly bool Equals(object? obj) => obj is BlobId other && Equals(other);

    public override readonly int GetHashCode() => (int)Prefix;

    public override readonly string ToString() => Convert.ToHexStringLower(AsSpan(in this));
}

/// <summary>One execution; a UUIDv7, so that names sort by time for people.</summary>
public readonly record struct RunId(Guid Value)
{
    private const long MaxMilliseconds = 253_402_300_799_999; // the end of the year 9999

    /// <summary>A new id; may be made before the run begins, to name a checkpoint after it.</summary>
    public static RunId New() => new(Guid.CreateVersion7());

    /// <summary>What people type and see: the first 12 hex digits of SHA-256 of the id's 16 bytes.</summary>
    public string ShortId => Convert.ToHexStringLower(SHA256.HashData(Value.ToByteArray(bigEndian: true)).AsSpan(0, 6));

    /// <summary>When it was made, by its maker's clock: the 48 bits of milliseconds that a UUIDv7 begins with.</summary>
    internal DateTimeOffset Time
    {
        get
        {
            Span<byte> bytes = stackalloc byte[16];
            Value.TryWriteBytes(bytes, bigEndian: true, out _);
            var milliseconds = (long)(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes) >> 16);
            return milliseconds <= MaxMilliseconds ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : DateTimeOffset.UnixEpoch;
        }
    }

    public static bool TryParse(string text, out RunId id)
    {
        var valid = Guid.TryParseExact(text, "N", out var value) && text == value.ToString("N");
        id = new RunId(value);
        return valid;
    }

    /// <exception cref="FormatException">Not 32 lower-case hex digits.</exception>
    public static RunId Parse(string text) => TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not a run id.");

    public override string ToString() => Value.ToString("N");
}

/// <summary>A machine's identity in a repository: its UUID as text, or an id given by the user.</summary>
public readonly record struct MachineId
{
    private const int MaxLength = 64;

    /// <exception cref="FormatException">Not 1 to 64 of [a-z0-9-], or it starts with '-'.</exception>
    public MachineId(string value)
    {
        if (!IsValid(value))
            throw new FormatException($"'{value}' is not a machine id; 1 to 64 of a-z, 0-9 and '-', not starting with '-', are.");
        Value = value;
    }

    public string Value { get; }

    public static bool IsValid(string value)
    {
        if (value.Length is 0 or > MaxLength || value[0] == '-')
            return false;
        foreach (var letter in value)
        {
            if (!char.IsAsciiLetterLower(letter) && !char.IsAsciiDigit(letter) && letter != '-')
                return false;
        }

        return true;
    }

    public override string ToString() => Value;
}

/// <summary>One host that writes: 8 bytes.</summary>
public readonly record struct WriterId(ulong Value)
{
    internal const int Size = 8;

    public static WriterId From(ReadOnlySpan<byte> bytes) => new(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes));

    /// <exception cref="FormatException">Not 16 hex digits.</exception>
    public static WriterId Parse(string text) =>
        text.Length == 2 * Size ? From(Convert.FromHexString(text)) : throw new FormatException($"'{text}' is not a writer id.");

    internal void Write(Span<byte> target) => System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(target, Value);

    public override string ToString() => Value.ToString("x16");
}

// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tidemark.Protocol.Tests;

/// <summary>
/// One blob that every point holds, its copies, and everyone who acts on it. Sets are bits. Points, and the segment each brings:
/// 0 and 1 exist from the beginning, 2 and on are the writers'. Packs: 0 and 1 belong to points 0 and 1, 2 to 4 to the writers, 5 and 6
/// to the collectors that repack.
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct ModelState
{
    public const int FirstWriter = 2;
    public const int Points = 5;
    public const int FirstRepack = 5;
    public const byte OwnSegment = 0x80;
    public const byte IndexUnread = 4;
    public const byte CondemnedUnread = 8;

    public byte Packs;
    public byte Committed; // points whose key has bytes
    public byte Tombstones; // points whose key is empty
    public byte Removed; // points whose key was deleted: it can be created again
    public byte Retired;
    public byte Expired;
    public byte Segments; // objects of the first level that exist
    public byte Gone; // what the newest roster calls gone
    public byte Registered; // run objects of writers, by point
    public byte ReaderPc;
    public Three<Writer> Writers;
    public Two<Epoch> Epochs;
    public Two<Collector> Collectors;

    public static ReadOnlySpan<ulong> Words(in ModelState state) =>
        MemoryMarshal.Cast<ModelState, ulong>(MemoryMarshal.CreateReadOnlySpan(in state, 1));

    public static ulong Hash(in ModelState state)
    {
        ulong hash = 0x9E3779B97F4A7C15;
        foreach (var word in Words(in state))
        {
            hash = (hash ^ word) * 0xD6E8FEB86659FD93;
            hash ^= hash >> 32;
        }

        return hash | 1;
    }

    /// <summary>A run that can't commit any more, or has.</summary>
    public readonly bool IsEnded(int point) => Has(Committed | Tombstones | Retired | Gone, point);

    public static bool Has(int set, int member) => (set >> member & 1) != 0;

    [InlineArray(3)]
    public struct Three<T>
    {
        private T _first;
    }

    [InlineArray(2)]
    public struct Two<T>
    {
        private T _first;
    }

    /// <summary>A backup run.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 1)]
    public struct Writer
    {
        public WriterStep Pc;
        public byte Base; // point + 1; 0: none, it looks the blob up
        public bool IsUndo;
        public byte Excluded; // packs it read as condemned
        public byte Seen; // the epoch whose index it read, + 1; with 4: not read yet; with 8: condemned not read yet
        public byte Chosen; // the pack it reuses or adopted, + 1; and OwnSegment once it wrote one
    }

    /// <summary>A collector's records; create-only.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 1)]
    public struct Epoch
    {
        public EpochRecords Records;
        public byte Condemned;
        public byte Wait;
        public byte Delete;
        public byte Fold; // packs that the folded segments name
        public byte Superseded; // segments of the first level folded
        public byte Gone;
        public byte Over; // runs that had ended when it began: their run objects go with it
    }

    /// <summary>What a collector knows between two of its steps.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 1)]
    public struct Collector
    {
        public CollectorStep Pc;
        public byte Epoch;
        public byte Cursor;
        public byte Wait;
        public byte Live; // points found live
        public byte Dead; // points and tombstones found that will be gone
        public bool IsProtected;
        public byte Delete;
        public byte Fold;
        public byte Superseded;
    }
}

internal enum WriterStep : byte
{
    Start,
    Registering,
    Checking,
    Listing,
    Looking,
    Reusing,
    StoringPack,
    StoringSegment,
    Committing,
    Done,
    GaveUp,
}

internal enum CollectorStep : byte
{
    Idle,
    Condemning,
    ListingRuns,
    Waiting,
    MarkingPoints,
    MarkingExpired,
    MarkingPins,
    Judging,
    Deciding,
    Publishing,
    DroppingSegments,
    DroppingPacks,
    DroppingKeys,
    Finishing,
}

[Flags]
internal enum EpochRecords : byte
{
    None = 0,
    Condemn = 1,
    Wait = 2,
    Verdict = 4,
    Index = 8,
    Done = 16,
}

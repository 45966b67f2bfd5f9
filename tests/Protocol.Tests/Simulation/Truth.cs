// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Protocol.Tests;

/// <summary>What must be in the repository, kept outside of it.</summary>
internal sealed class Truth(World world)
{
    private readonly Dictionary<RunId, PointTruth> _points = [];

    public IReadOnlyCollection<PointTruth> Points => _points.Values;

    public PointTruth? this[RunId run] => _points.GetValueOrDefault(run);

    /// <summary>What a point that was found must hold; one brought back holds what the deleted one did.</summary>
    public PointTruth? Of(RestorePoint point)
    {
        if (_points.TryGetValue(point.Id, out var known))
            return known;
        var isRevival = point.Warnings.Any(warning => warning.StartsWith("Brought back", StringComparison.Ordinal));
        return isRevival && RunId.TryParse(point.Disk("vda").Base ?? "", out var origin) && this[origin] is { } before
            ? Expect(point.MachineId, point.Id, before.Content)
            : null;
    }

    /// <summary>Before a commit is tried: from here on the point may exist.</summary>
    public PointTruth Expect(MachineId machine, RunId run, int[] content)
    {
        var point = new PointTruth(machine, run, content);
        _points.Add(run, point);
        return point;
    }

    public void Violated(string what) => world.Violations.Add(what);
}

/// <summary>A restore point that may or must exist.</summary>
internal sealed class PointTruth(MachineId machine, RunId run, int[] content)
{
    public MachineId Machine => machine;

    public RunId Run => run;

    /// <summary>The value of each chunk; 0 is a hole.</summary>
    public int[] Content => content;

    /// <summary>The writer was told that it exists.</summary>
    public bool IsReported { get; set; }

    /// <summary>Someone asked to delete it; whether that took effect is not known here.</summary>
    public bool IsRetireAsked { get; set; }

    /// <summary>Someone was told that it is deleted.</summary>
    public bool IsRetired { get; set; }
}

/// <summary>The bytes of chunks: few values, so that machines share content.</summary>
internal static class Chunks
{
    public const int Log2 = 16;
    public const int Size = 1 << Log2;
    public const int Values = 25;
    public const int Random = 6000; // the rest is zero: little to store, and still worth moving

    private static readonly byte[][] Contents = [.. Enumerable.Range(0, Values).Select(Make)];

    public static ReadOnlySpan<byte> Of(int value) => Contents[value];

    private static byte[] Make(int value)
    {
        var chunk = new byte[Size];
        if (value > 0)
            new Random(value).NextBytes(chunk.AsSpan(0, Random));
        return chunk;
    }
}

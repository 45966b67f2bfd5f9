// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What the newest finished mark knew: the points it saw, and the rids that never come back (I16). Immutable.</summary>
internal sealed class Roster
{
    private const int RunSize = 16;
    private readonly HashSet<RunId> _gone;

    public Roster(RosterDocument document)
    {
        Points = document.Points;
        _gone = new HashSet<RunId>(document.Gone.Length / RunSize);
        for (var at = 0; at + RunSize <= document.Gone.Length; at += RunSize)
            _gone.Add(new RunId(new Guid(document.Gone.AsSpan(at, RunSize), bigEndian: true)));
    }

    public static Roster Empty { get; } = new(new RosterDocument());

    public IReadOnlyList<RosterPoint> Points { get; }

    public IReadOnlyCollection<RunId> Gone => _gone;

    public bool IsGone(RunId run) => _gone.Contains(run);

    /// <summary>The bytes of a roster's "gone".</summary>
    public static byte[] Pack(IEnumerable<RunId> runs)
    {
        var sorted = runs.Distinct().OrderBy(run => run.ToString(), StringComparer.Ordinal).ToArray();
        var bytes = new byte[sorted.Length * RunSize];
        for (var i = 0; i < sorted.Length; i++)
            sorted[i].Value.TryWriteBytes(bytes.AsSpan(i * RunSize), bigEndian: true, out _);
        return bytes;
    }
}

// SPDX-License-Identifier: Apache-2.0
using Tidemark.Storage;

namespace Tidemark.Engine.Auditing;

/// <summary>
/// What an audit found wrong with one disk: chunks that its bitmap calls unchanged and that are not what the base has. Told by the
/// repository's workers, asked by the transfer.
/// </summary>
/// <param name="before">What was known when the run began.</param>
internal sealed class Suspicion(Coverage before)
{
    private readonly Lock _gate = new();
    private AuditedSpan? _lastGood;

    /// <summary>A chunk was found to differ.</summary>
    public bool IsFounded => Volatile.Read(ref _lastGood) is not null;

    /// <summary>The first chunk found.</summary>
    public long Chunk { get; private set; } = -1;

    /// <summary>Of all chunks found, the one compared longest ago: what came after that run may lack changes. Seq 0: never.</summary>
    public AuditedSpan LastGood => Volatile.Read(ref _lastGood) ?? throw new InvalidOperationException("Nothing was found wrong.");

    /// <summary>Chunks [from, to) differ.</summary>
    public void Found(long from, long to)
    {
        lock (_gate)
        {
            if (Chunk < 0)
                Chunk = from;
            for (var chunk = from; chunk < to;)
            {
                var span = before.Of(chunk);
                if (_lastGood is null || span.Seq < _lastGood.Seq)
                    Volatile.Write(ref _lastGood, span);
                chunk = span.To;
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Backup;

/// <summary>
/// How many chunks of a disk are read ahead of their use: few while they come in time, more while whoever uses them has to wait. Much in
/// flight is memory that QEMU takes and gives back for every request, measured as a third of its time; little starves a slow store.
/// One reader enters, one user leaves.
/// </summary>
internal sealed class ReadWindow : IDisposable
{
    // In time this often without a wait in between: the window may be smaller.
    private const int CalmAfter = 64;

    private readonly int _least;
    private readonly int _most;
    private readonly SemaphoreSlim _free;
    private int _calm;

    /// <param name="least">Chunks at the start, at least 1.</param>
    /// <param name="most">Chunks that are never exceeded.</param>
    public ReadWindow(int least, int most)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(least);
        ArgumentOutOfRangeException.ThrowIfLessThan(most, least);
        (_least, _most, Size) = (least, most, least);
        _free = new SemaphoreSlim(least);
    }

    /// <summary>Chunks that may be read ahead now.</summary>
    public int Size { get; private set; }

    /// <summary>Returns when another chunk may be asked for.</summary>
    public Task EnterAsync(CancellationToken cancellationToken) => _free.WaitAsync(cancellationToken);

    /// <summary>A chunk is used.</summary>
    /// <param name="isLate">It was waited for.</param>
    public void Leave(bool isLate)
    {
        _calm = isLate ? 0 : _calm + 1;
        if (isLate && Size < _most)
        {
            Size++;
            _free.Release(2);
        }
        else if (_calm >= CalmAfter && Size > _least)
        {
            Size--;
            _calm = 0;
        }
        else
        {
            _free.Release();
        }
    }

    public void Dispose() => _free.Dispose();
}

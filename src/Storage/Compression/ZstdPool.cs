// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;

namespace Tidemark.Storage;

/// <summary>Lends codecs to whoever decodes or compresses; as many live as calls ran at once. Disposed with the repository.</summary>
internal sealed class ZstdPool : IDisposable
{
    private readonly ConcurrentBag<ZstdCodec> _idle = [];

    public Lease Rent() => new(this, _idle.TryTake(out var codec) ? codec : new ZstdCodec());

    public void Dispose()
    {
        while (_idle.TryTake(out var codec))
            codec.Dispose();
    }

    /// <summary>A codec on loan; disposing gives it back.</summary>
    public readonly struct Lease(ZstdPool pool, ZstdCodec codec) : IDisposable
    {
        public ZstdCodec Codec => codec;

        public void Dispose() => pool._idle.Add(codec);
    }
}

// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>The root of a small file, read from its start.</summary>
internal static class StreamTree
{
    public static async Task<BlobId> RootAsync(RepositoryKeys keys, TreeShape shape, Stream content, CancellationToken cancellationToken)
    {
        var builder = new TreeBuilder(shape, null, null, null, keys);
        var chunk = new byte[shape.ChunkSize];
        content.Position = 0;
        for (long index = 0; index < shape.ChunkCount; index++)
        {
            var length = shape.LengthOf(index);
            await content.ReadExactlyAsync(chunk.AsMemory(0, length), cancellationToken);
            chunk.AsSpan(length).Clear();
            if (chunk.AsSpan().IndexOfAnyExcept((byte)0) >= 0)
                await builder.SetAsync(index, keys.ChunkId(chunk), default, null, cancellationToken);
        }

        return (await builder.FinishAsync(cancellationToken)).Root;
    }
}

// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Tidemark.Storage.Tests;

/// <summary>A tree whose leaves come in any order is the tree that is built from the beginning, node by node.</summary>
public sealed class ScatteredTreeTests
{
    private static readonly RepositoryKeys Keys = new(new byte[32], Guid.Empty, encrypted: true);

    [Fact]
    public async Task LeavesInAnyOrder_GiveTheSameTree()
    {
        for (var seed = 1; seed <= 300; seed++)
        {
            var random = new Random(seed);
            var count = random.Next(65, seed % 4 == 0 ? 5000 : 300_000);
            var shape = new TreeShape(((long)count << 18) - random.Next(1 << 18), 18);
            var chunks = SomeChunks(random, count);
            var leaves = chunks.GroupBy(chunk => chunk / TreeShape.FanOut).ToArray();
            random.Shuffle(leaves);
            var (inOrder, scattered) = (new Sink(), new Sink());
            var expected = await BuildAsync(new TreeBuilder(shape, null, null, inOrder, Keys), chunks);
            var actual = await BuildAsync(new ScatteredTree(shape, scattered, Keys), leaves.SelectMany(leaf => leaf));
            Assert.True(expected == actual, $"Seed {seed}: {count} chunks, another root.");
            Assert.True(inOrder.Nodes.SetEquals(scattered.Nodes), $"Seed {seed}: {count} chunks, other nodes.");
        }
    }

    [Fact]
    public async Task LeafThatComesTwice_IsRefused()
    {
        var tree = new ScatteredTree(new TreeShape(1 << 30, 18), new Sink(), Keys);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => BuildAsync(tree, [70, 5, 71]));
        tree = new ScatteredTree(new TreeShape(1 << 30, 18), new Sink(), Keys);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => BuildAsync(tree, [71, 70]));
    }

    [Theory]
    [InlineData(1, 18)]
    [InlineData(64L << 18, 18)]
    [InlineData((64L << 18) + 1, 18)]
    [InlineData((10L << 30) + 12_345, 18)]
    [InlineData(1L << 40, 16)]
    [InlineData((1L << 40) + 1, 16)]
    [InlineData(8L << 40, 18)]
    public void Pieces_AreTheDiskInWholeLeaves(long size, int chunkLog2)
    {
        var shape = new TreeShape(size, chunkLog2);
        var leaf = (long)TreeShape.FanOut << chunkLog2;
        Assert.Equal(size > leaf && size <= leaf << 18, ScatteredOrder.Suits(shape));
        if (!ScatteredOrder.Suits(shape))
            return;
        var pieces = ScatteredOrder.Of(shape, RunId.New());
        Assert.InRange(pieces.Count, 2, 256);
        var at = 0L;
        foreach (var piece in pieces.OrderBy(piece => piece.Offset))
        {
            Assert.Equal(at, piece.Offset);
            Assert.Equal(0, piece.Offset % leaf);
            at = piece.End;
        }

        Assert.Equal(size, at);
        if (pieces.Count > 50)
            Assert.NotEqual(pieces, ScatteredOrder.Of(shape, RunId.New()));
    }

    private static List<long> SomeChunks(Random random, int count)
    {
        var chosen = new SortedSet<long>();
        for (var cluster = random.Next(12); cluster >= 0; cluster--)
        {
            var at = random.Next(count);
            var length = random.Next(random.Next(2) == 0 ? 5 : 300);
            for (var chunk = at; chunk < Math.Min(count, at + length); chunk++)
                chosen.Add(chunk);
        }

        return [.. chosen];
    }

    private static async Task<BlobId> BuildAsync(IDiskTree tree, IEnumerable<long> chunks)
    {
        foreach (var chunk in chunks)
            await tree.SetAsync(chunk, IdOf(chunk), default, null, Fixture.Token);
        return (await tree.FinishAsync(Fixture.Token)).Root;
    }

    private static BlobId IdOf(long chunk)
    {
        var number = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(number, chunk);
        return BlobId.From(SHA256.HashData(number));
    }

    // Children come before their parents, and each node once.
    private sealed class Sink : INodeSink
    {
        public HashSet<BlobId> Nodes { get; } = [];

        public ValueTask<StoredBlob?> AddAsync(TreeNode node, BlobId id, StoredBlob?[] children, CancellationToken cancellationToken)
        {
            Assert.True(Nodes.Add(id));
            for (var slot = 0; node.Level > 0 && slot < TreeShape.FanOut; slot++)
                Assert.True(!node.Has(slot) || Nodes.Contains(node.Id(slot)), "A parent came before its child.");
            return ValueTask.FromResult<StoredBlob?>(null);
        }
    }
}

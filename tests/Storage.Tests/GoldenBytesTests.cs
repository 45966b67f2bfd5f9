// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>The bytes of docs/format.md, computed once from that page by a program of another language. They never change.</summary>
public sealed class GoldenBytesTests
{
    private static readonly Guid Id = Guid.ParseExact("00112233445566778899aabbccddeeff", "N");
    private static readonly RunId Run = RunId.Parse("01234567890a7bcd8ef0112233445566");
    private static readonly byte[] Chunk = [.. Enumerable.Range(0, 65_536).Select(i => (byte)(i % 251))];
    private static readonly RepositoryKeys Keys = new([.. Enumerable.Range(0, 32).Select(i => (byte)i)], Id, encrypted: false);
    private static readonly PackName Pack = new(
        WriterId.Parse("0102030405060708"), Run, BlobId.From([.. Enumerable.Range(100, 32).Select(i => (byte)i)]), IsData: true);

    [Fact]
    public void ChunkId_Section4() =>
        Assert.Equal("991ae3ce5653d5f5b38c6fd646744a86a5db13ac467466662cb659c8e411fc6a", Keys.ChunkId(Chunk).ToString());

    [Fact]
    public void Node_Section7()
    {
        var node = MakeNode();
        var bytes = new byte[TreeNode.MaxSize];
        var length = node.Write(bytes);
        Assert.Equal("4e82b3428d5b96633c39c3af4087d6f02d87d4c22a5ae3a67259be7e014564d7", node.ComputeId(Keys).ToString());
        Assert.Equal("3d24b9eb69352f87a5cd3fafe96668d0f6c54551a2089aee7f34e7af987641d4", Hash(bytes.AsSpan(0, length)));
        var own = Pack with { IsData = false };
        var read = TreeNode.TryRead(bytes.AsSpan(0, length), 0, 16, own, out _)!;
        Assert.Equal(new BlobLocation(Pack, 0x01020304, 65_572), read.Location(0));
        Assert.Equal(new BlobLocation(own, 36, 70_000), read.Location(63));
        for (var cut = 0; cut < length; cut++)
            Assert.Null(TreeNode.TryRead(bytes.AsSpan(0, cut), 0, 16, own, out _));
        Assert.Null(TreeNode.TryRead(bytes.AsSpan(0, length + 1), 0, 16, own, out _));
        Assert.Null(TreeNode.TryRead(bytes.AsSpan(0, length), 1, 16, own, out _));
        Assert.Null(TreeNode.TryRead(bytes.AsSpan(0, length), 0, 18, own, out _));
    }

    [Fact]
    public void Blob_Section7()
    {
        var blob = SealChunk();
        Assert.Equal("803384389763d0af344dd7f7a75f81946a992d5b46bc309fb7a20aa423483a26", Hash(blob));
        using var codec = new ZstdCodec();
        var plain = new byte[Chunk.Length];
        var id = Keys.ChunkId(Chunk);
        Assert.Equal(Chunk.Length, BlobSealer.TryOpen(Keys, codec, BlobKind.Chunk, in id, blob, [], plain));
        Assert.Equal(Chunk, plain);
        Assert.Equal(-1, BlobSealer.TryOpen(Keys, codec, BlobKind.Node, in id, blob, [], plain));
        for (var cut = 0; cut < 80; cut++)
            Assert.Equal(-1, BlobSealer.TryOpen(Keys, codec, BlobKind.Chunk, in id, blob.AsSpan(0, cut), new byte[80], plain));
    }

    [Fact]
    public void SealedObject_Section8()
    {
        using var codec = new ZstdCodec();
        var path = "points/m/" + Run;
        var bytes = SealedObject.Close(Keys, codec, path, "{\"v\":1}"u8);
        const string Expected = "54444d4f01000000070000000000000000000000000000007b2276223a317dedaf7aa102def034bc20165709ba651f";
        Assert.Equal(Expected, Convert.ToHexStringLower(bytes));
        Assert.Equal("{\"v\":1}", Encoding.UTF8.GetString(SealedObject.Open(Keys, codec, path, bytes)));
        for (var cut = 0; cut < bytes.Length; cut++)
            Assert.Throws<RepositoryDamagedException>(() => SealedObject.Open(Keys, codec, path, bytes.AsSpan(0, cut)));
        for (var at = 0; at < bytes.Length; at++)
        {
            var flipped = bytes.ToArray();
            flipped[at] ^= 0x10;
            Assert.Throws<RepositoryDamagedException>(() => SealedObject.Open(Keys, codec, path, flipped));
        }

        Assert.Throws<RepositoryDamagedException>(() => SealedObject.Open(Keys, codec, path + "0", bytes));
    }

    [Fact]
    public async Task Pack_Section7()
    {
        var store = new MemoryStore();
        using var context = new RepositoryContext(store, Keys, Pack.Writer, Id, "host", TimeProvider.System);
        await using (
            var writer = new PackWriter(context, Run, isData: true, new RunCounters(), _ => Task.CompletedTask, _ => { }, Fixture.Token))
        {
            await writer.AppendAsync(
                new StoredBlob(), Keys.ChunkId(Chunk), Chunk.Length, BlobKind.Chunk, BlobCompression.None, SealChunk());
            await writer.FinishAsync();
        }

        const string Sha = "675b27cacf3af36126e47ccdca50cad9411b4ac63b07f59247e628aa19078619";
        var (key, bytes) = Assert.Single(store.Objects);
        Assert.Equal($"packs/0102030405060708/{Run}/d-{Sha}", key);
        Assert.Equal(Sha, Hash(bytes));
        var (offset, length, id) = PackContents.TryReadFooter(bytes.AsSpan(bytes.Length - PackContents.FooterSize), bytes.Length)!.Value;
        using var codec = new ZstdCodec();
        var plain = new byte[length];
        var plainLength = BlobSealer.TryOpen(Keys, codec, BlobKind.Contents, in id, bytes.AsSpan((int)offset, (int)length), [], plain);
        var entry = Assert.Single(PackContents.TryRead(plain.AsSpan(0, plainLength))!);
        Assert.Equal(new PackEntry(Keys.ChunkId(Chunk), 0, 65_572, 65_536, BlobKind.Chunk, BlobCompression.None), entry);
        Assert.Null(PackContents.TryRead(plain.AsSpan(0, plainLength - 1)));
    }

    [Fact]
    public void Segment_Section8()
    {
        var entry = new IndexEntry(Keys.ChunkId(Chunk), 0, 0, 65_572, 65_536, BlobKind.Chunk, BlobCompression.None);
        var bytes = IndexSegment.Write([new IndexedPack(Pack, 65_724)], [entry]);
        Assert.Equal("cd1c7c208b74bc13f648c63c51234899930184d9a1bbcd8535449fa7cd8da72f", Hash(bytes));
        var read = IndexSegment.Read("index/x", bytes);
        Assert.Equal(entry, read[0]);
        Assert.Equal(new IndexedPack(Pack, 65_724), Assert.Single(read.Packs));
        for (var cut = 0; cut < bytes.Length; cut++)
            Assert.Throws<RepositoryDamagedException>(() => IndexSegment.Read("index/x", bytes[..cut]));
    }

    [Fact]
    public void ConfigMacAndShortId_Sections1And5()
    {
        Span<byte> mac = stackalloc byte[32];
        Keys.ConfigMac("{\"format\":1}"u8, mac);
        Assert.Equal("545c3cfbf10abd66d63e2a88d71e4317551cc16103090e66a0f15ac2bbd498fe", Convert.ToHexStringLower(mac));
        Assert.Equal("160d20a90b83", Run.ShortId);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("encrypted")]
    public async Task GoldenRepository_IsReadByEveryLaterProgram(string kind)
    {
        var folder = Directory.CreateTempSubdirectory("golden-").FullName;
        await UnpackAsync(Path.Combine(AppContext.BaseDirectory, "testdata", $"v1-{kind}.txt"), folder);
        await using var store = new FolderStore(folder);
        var key = kind == "none" ? Credentials.None : Credentials.FromKeyFile("tidemark-key-1 " + new string('5', 64));
        using var repository = await Repository.OpenAsync(store, key, Fixture.OptionsOf(1), Fixture.Token);
        var points = (await repository.ListPointsAsync(null, Fixture.Token)).Points;
        Assert.Equal([2L, 1L], points.Select(point => point.Seq));
        await Fixture.AssertHoldsAsync(repository, points[1].Disk("vda"), GoldenContent(second: false));
        await Fixture.AssertHoldsAsync(repository, points[0].Disk("vda"), GoldenContent(second: true));
        Assert.All(points, point => Assert.NotNull(point.Disk("vda").Hint));
        Assert.Equal("<domain/>", points[0].DomainXml);
        Assert.Equal("nvram", Encoding.UTF8.GetString(await repository.ReadFileAsync(Assert.Single(points[0].Files), Fixture.Token)));
        Assert.True((await repository.VerifyAsync(VerifyLevel.Data, null, null, Fixture.Token)).IsSound);
        Assert.True((await repository.VerifyAsync(VerifyLevel.Packs, null, null, Fixture.Token)).IsSound);
        Directory.Delete(folder, recursive: true);
    }

    // A line a file: its path and its bytes in base64.
    private static async Task UnpackAsync(string archive, string folder)
    {
        await foreach (var line in File.ReadLinesAsync(archive, Fixture.Token))
        {
            if (line.StartsWith('#'))
                continue;
            var parts = line.Split(' ');
            var file = Path.Combine(folder, parts[0]);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            await File.WriteAllBytesAsync(file, Convert.FromBase64String(parts[1]), Fixture.Token);
        }
    }

    /// <summary>Five million bytes, most of them holes: two levels of nodes, compressed and raw chunks, a partial tail.</summary>
    internal static byte[] GoldenContent(bool second)
    {
        var content = new byte[5_000_000];
        for (var i = 0; i < 100_000; i++)
            content[i] = (byte)(i / 9 % 77);
        uint state = 1;
        for (var i = 4_990_000; i < content.Length; i++)
        {
            state = state * 1_664_525 + 1_013_904_223;
            content[i] = (byte)(state >> 24);
        }

        if (second)
            content.AsSpan(70_000, 10).Fill(200);
        return content;
    }

    private static TreeNode MakeNode()
    {
        var node = new TreeNode(0, 16);
        var id = Keys.ChunkId(Chunk);
        node.Set(0, in id, new BlobLocation(Pack, 0x01020304, 65_572));
        node.Set(63, in id, new BlobLocation(null, 36, 70_000));
        return node;
    }

    private static byte[] SealChunk()
    {
        var blob = new byte[BlobSealer.Overhead + Chunk.Length];
        BlobSealer.Close(Keys, BlobKind.Chunk, Keys.ChunkId(Chunk), BlobCompression.None, Chunk.Length, Chunk, blob);
        return blob;
    }

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
